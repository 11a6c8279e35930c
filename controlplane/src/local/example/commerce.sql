CREATE TABLE product (
  sku varbinary(128) NOT NULL,
  description varbinary(128),
  price bigint,
  PRIMARY KEY (sku)
) ENGINE=InnoDB;
CREATE TABLE customer_seq (id int NOT NULL, next_id bigint, cache bigint, PRIMARY KEY (id)) ENGINE=InnoDB COMMENT 'vitess_sequence';
INSERT INTO customer_seq (id, next_id, cache) VALUES (0, 1000, 100);
CREATE TABLE order_seq (id int NOT NULL, next_id bigint, cache bigint, PRIMARY KEY (id)) ENGINE=InnoDB COMMENT 'vitess_sequence';
INSERT INTO order_seq (id, next_id, cache) VALUES (0, 1000, 100);
