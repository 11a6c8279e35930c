CREATE TABLE customer (
  customer_id bigint NOT NULL,
  email varbinary(128),
  PRIMARY KEY (customer_id)
) ENGINE=InnoDB;
CREATE TABLE corder (
  order_id bigint NOT NULL,
  customer_id bigint,
  sku varbinary(128),
  price bigint,
  PRIMARY KEY (order_id)
) ENGINE=InnoDB;
