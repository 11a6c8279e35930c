// go-sql-driver/mysql: text and binary protocol, by database/sql.
package main

import (
	"bytes"
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/tls"
	"database/sql"
	"errors"
	"fmt"
	"os"
	"strings"
	"time"

	"github.com/go-sql-driver/mysql"
)

func env(name string) string { return os.Getenv("E2E_" + name) }

var (
	database = env("DATABASE")
	other    = env("OTHER_DATABASE")
	kv       = env("PREFIX") + "_kv"
	types    = env("PREFIX") + "_types"
	auto     = env("PREFIX") + "_auto"
	ctx      = context.Background()
)

func must(err error) {
	if err != nil {
		panic(err)
	}
}

func equal(got, want any) {
	if g, w := fmt.Sprintf("%v", got), fmt.Sprintf("%v", want); g != w {
		panic(fmt.Sprintf("got %.300q, wanted %.300q", g, w))
	}
}

func fails(code uint16, err error) {
	var e *mysql.MySQLError
	if !errors.As(err, &e) {
		panic(fmt.Sprintf("wanted error %d, got %v", code, err))
	}
	equal(e.Number, code)
}

func config(change ...func(*mysql.Config)) *mysql.Config {
	c := mysql.NewConfig()
	c.User, c.Passwd, c.Net, c.Addr, c.DBName = env("USER"), env("PASSWORD"), "tcp", env("HOST")+":"+env("PORT"), database
	c.MaxAllowedPacket = 64 << 20
	c.ParseTime = true
	for _, f := range change {
		f(c)
	}
	return c
}

func open(change ...func(*mysql.Config)) *sql.DB {
	connector, err := mysql.NewConnector(config(change...))
	must(err)
	return sql.OpenDB(connector)
}

func conn(db *sql.DB) *sql.Conn {
	c, err := db.Conn(ctx)
	must(err)
	return c
}

func exec(c *sql.Conn, query string, args ...any) sql.Result {
	r, err := c.ExecContext(ctx, query, args...)
	if err != nil {
		panic(fmt.Errorf("%.200s: %w", query, err))
	}
	return r
}

func str(c *sql.Conn, query string, args ...any) string {
	var s sql.NullString
	if err := c.QueryRowContext(ctx, query, args...).Scan(&s); err != nil {
		panic(fmt.Errorf("%.200s: %w", query, err))
	}
	if !s.Valid {
		return "NULL"
	}
	return s.String
}

func connects() {
	db := open()
	defer db.Close()
	must(db.Ping())
	c := conn(db)
	equal(str(c, "select 1"), "1")
	equal(str(c, "select database()"), database)
	wrong := open(func(c *mysql.Config) { c.Passwd = "wrong" })
	defer wrong.Close()
	fails(1045, wrong.Ping())
}

func withTLS(c *mysql.Config) { c.TLS = &tls.Config{InsecureSkipVerify: true} }

func connectsByTLS() {
	db := open(withTLS)
	defer db.Close()
	equal(str(conn(db), "select repeat('x', 100000)"), strings.Repeat("x", 100000))
}

func compresses() {
	db := open(func(c *mysql.Config) { must(c.Apply(mysql.EnableCompression(true))) })
	defer db.Close()
	c := conn(db)
	equal(str(c, "select repeat('x', 1000000)"), strings.Repeat("x", 1000000))
	equal(str(c, "select ?", strings.Repeat("y", 100000)), strings.Repeat("y", 100000))
}

func cachingSha2() {
	user := func(c *mysql.Config) { c.User, c.Passwd = env("SHA2_USER"), env("SHA2_PASSWORD") }
	none := func(*mysql.Config) {}
	for _, how := range []func(*mysql.Config){none, withTLS} {
		for range 2 {
			db := open(user, how)
			equal(str(conn(db), "select 7"), "7")
			db.Close()
		}
		db := open(user, how, func(c *mysql.Config) { c.Passwd = "wrong" })
		fails(1045, db.Ping())
		db.Close()
	}
}

func roundTrip() {
	all := make([]byte, 256)
	for i := range all {
		all[i] = byte(i)
	}
	names := "id,ti,tu,si,mi,i,bi,bu,d,f,db,da,t,dt,ts,y,c,vc,tx,bin,bl,j,en"
	at := time.Date(2038, 1, 19, 3, 14, 6, 123456000, time.UTC)
	row := []any{int64(9223372036854775807), -128, 255, -32768, 8388607, -2147483648, int64(-9223372036854775808),
		uint64(18446744073709551615), "-12345678901234567890.0123456789", 0.5, -1.5e300, "1000-01-01", "-838:59:58.999999",
		"9999-12-31 23:59:59.999999", at, 2155, "ch", "Ünïcödé 🦀 '\"\\\x00\n\x1a%", strings.Repeat("🦀", 1000), all,
		bytes.Repeat([]byte{0xfe, 0}, 50000), `{"a": [1, null, "🦀"]}`, "y"}
	nulls := make([]any, len(row))
	nulls[0] = -5
	insert := fmt.Sprintf("insert into %s (%s) values (?%s)", types, names, strings.Repeat(",?", len(row)-1))
	// Interpolated, the statement is text; else it is prepared.
	for _, interpolate := range []bool{false, true} {
		db := open(func(c *mysql.Config) { c.InterpolateParams, c.ParseTime = interpolate, false })
		c := conn(db)
		exec(c, "set time_zone = '+00:00'")
		exec(c, "delete from "+types+" where id in (?, -5)", row[0])
		exec(c, insert, row...)
		exec(c, insert, nulls...)
		for _, binary := range []bool{false, true} {
			query, args := fmt.Sprintf("select %s from %s where id = 9223372036854775807", names, types), []any{}
			if binary {
				query, args = fmt.Sprintf("select %s from %s where id = ?", names, types), []any{row[0]}
			}
			got := make([]sql.NullString, len(row))
			pointers := make([]any, len(row))
			for i := range got {
				pointers[i] = &got[i]
			}
			must(c.QueryRowContext(ctx, query, args...).Scan(pointers...))
			for i, g := range got {
				want := fmt.Sprintf("%v", row[i])
				switch v := row[i].(type) {
				case []byte:
					want = string(v)
				case time.Time:
					want = v.Format("2006-01-02 15:04:05.000000")
				case float64:
					if g.String == "-1.5e300" {
						want = g.String
					}
				}
				if g.String != want || !g.Valid {
					panic(fmt.Sprintf("column %d (interpolated %v, binary %v): got %.100q, wanted %.100q", i, interpolate, binary, g.String, want))
				}
			}
			must(c.QueryRowContext(ctx, strings.Replace(query, "9223372036854775807", "-5", 1), anyOf(binary, -5)...).Scan(pointers...))
			for _, g := range got[1:] {
				equal(g.Valid, false)
			}
		}
		exec(c, "update "+types+" set bt = b'1010101010', se = 'a,c' where id = -5")
		equal(str(c, "select bt from "+types+" where id = ?", -5), "\x02\xaa")
		equal(str(c, "select se from "+types+" where id = ?", -5), "a,c")
		db.Close()
	}
}

func anyOf(binary bool, value any) []any {
	if binary {
		return []any{value}
	}
	return nil
}

func transactions() {
	db := open()
	defer db.Close()
	two := conn(db)
	count := func() string {
		rows, err := two.QueryContext(ctx, "select id from "+kv+" where id in (1,2,3,4,5,6)")
		must(err)
		defer rows.Close()
		n := 0
		for rows.Next() {
			n++
		}
		must(rows.Err())
		return fmt.Sprint(n)
	}
	exec(two, "delete from "+kv+" where id in (1,2,3,4,5,6)")
	for _, commit := range []bool{false, true} {
		tx, err := db.BeginTx(ctx, nil)
		must(err)
		for i := 1; i <= 6; i++ {
			_, err := tx.Exec("insert into "+kv+" (id, v) values (?, 'x')", i)
			must(err)
		}
		equal(count(), 0)
		if commit {
			must(tx.Commit())
			equal(count(), 6)
		} else {
			must(tx.Rollback())
			equal(count(), 0)
		}
	}
	one := conn(db)
	exec(one, "set autocommit=0")
	exec(one, "delete from "+kv+" where id in (5, 6)")
	equal(count(), 6)
	exec(one, "commit")
	equal(count(), 4)
}

func prepared() {
	db := open()
	defer db.Close()
	c := conn(db)
	exec(c, "replace into "+kv+" (id, v) values (20, 'v')")
	s, err := c.PrepareContext(ctx, "select id, ? from "+kv+" where id = ?")
	must(err)
	values := []any{1, "two", 3.5, nil, int64(1) << 40, "ü🦀", []byte{1, 2, 0}, true}
	wanted := []string{"1", "two", "3.5", "NULL", "1099511627776", "ü🦀", "\x01\x02\x00", "1"}
	for i := range 800 {
		var id int
		var got sql.NullString
		must(s.QueryRow(values[i%8], 20).Scan(&id, &got))
		equal(id, 20)
		if got.Valid {
			equal(got.String, wanted[i%8])
		} else {
			equal("NULL", wanted[i%8])
		}
	}
	must(s.Close())
	for i := range 200 {
		s, err := c.PrepareContext(ctx, fmt.Sprintf("select %d + ?", i))
		must(err)
		var n int
		must(s.QueryRow(1).Scan(&n))
		equal(n, i+1)
		must(s.Close())
	}
}

func failures() {
	db := open()
	defer db.Close()
	c := conn(db)
	exec(c, "delete from "+kv+" where id = ?", 10)
	exec(c, "insert into "+kv+" (id) values (?)", 10)
	for _, args := range [][]any{nil, {10}} {
		_, err := c.ExecContext(ctx, "insert into "+kv+" (id) values ("+[]string{"10", "?"}[len(args)]+")", args...)
		fails(1062, err)
		_, err = c.ExecContext(ctx, "selekt "+[]string{"10", "?"}[len(args)], args...)
		fails(1064, err)
		_, err = c.QueryContext(ctx, "select * from no_such_table where id = "+[]string{"10", "?"}[len(args)], args...)
		fails(1146, err)
		_, err = c.QueryContext(ctx, "select nothing from "+kv+" where id = "+[]string{"10", "?"}[len(args)], args...)
		fails(1054, err)
	}
	equal(str(c, "select 'still here'"), "still here")
}

func multiStatements() {
	db := open(func(c *mysql.Config) { c.MultiStatements = true })
	defer db.Close()
	c := conn(db)
	rows, err := c.QueryContext(ctx, "select 1; select 2; select 3")
	must(err)
	var got []int
	for {
		for rows.Next() {
			var n int
			must(rows.Scan(&n))
			got = append(got, n)
		}
		if !rows.NextResultSet() {
			break
		}
	}
	must(rows.Err())
	rows.Close()
	equal(got, "[1 2 3]")
	_, err = c.ExecContext(ctx, "do 1; selekt 2")
	fails(1064, err)
	equal(str(c, "select 'still here'"), "still here")
}

func streams() {
	db := open()
	defer db.Close()
	c := conn(db)
	for _, args := range [][]any{nil, {0}} {
		rows, err := c.QueryContext(ctx, "select id, repeat(v, 1048576) from big"+[]string{"", " where id > ?"}[len(args)], args...)
		must(err)
		sum, size := 0, 0
		for rows.Next() {
			var id int
			var v sql.RawBytes
			must(rows.Scan(&id, &v))
			sum, size = sum+id, size+len(v)
		}
		must(rows.Err())
		rows.Close()
		equal(sum, 5050)
		equal(size, 100<<20)
	}
}

func largeValue() {
	data := make([]byte, 32<<20)
	block, err := aes.NewCipher(make([]byte, 16))
	must(err)
	cipher.NewCTR(block, make([]byte, 16)).XORKeyStream(data, data)
	for _, interpolate := range []bool{false, true} {
		db := open(func(c *mysql.Config) { c.InterpolateParams = interpolate })
		c := conn(db)
		exec(c, "delete from "+kv+" where id = 30")
		exec(c, "insert into "+kv+" (id, v) values (30, ?)", data)
		var got []byte
		must(c.QueryRowContext(ctx, "select v from "+kv+" where id = ?", 30).Scan(&got))
		if !bytes.Equal(got, data) {
			panic("the value came back changed")
		}
		exec(c, "delete from "+kv+" where id = 30")
		db.Close()
	}
}

func warnings() {
	db := open()
	defer db.Close()
	c := conn(db)
	equal(str(c, "select cast('12x' as signed)"), "12")
	var level, message string
	var code int
	must(c.QueryRowContext(ctx, "show warnings").Scan(&level, &code, &message))
	equal(code, 1292)
}

func lastInsertID() {
	db := open()
	defer db.Close()
	c := conn(db)
	one, err := exec(c, "insert into "+auto+" (v) values ('a')").LastInsertId()
	must(err)
	equal(str(c, "select last_insert_id()"), one)
	two, err := exec(c, "insert into "+auto+" (v) values (?), (?)", "b", "c").LastInsertId()
	must(err)
	if one <= 0 || two <= one {
		panic(fmt.Sprint(one, two))
	}
	equal(str(c, "select v from "+auto+" where id = ?", two), "b")
}

func use() {
	db := open()
	defer db.Close()
	c := conn(db)
	exec(c, "use "+other)
	equal(str(c, "select database()"), other)
	exec(c, "use "+database)
	_, err := c.ExecContext(ctx, "use no_such_database")
	fails(1049, err)
	equal(str(c, "select database()"), database)
}

func sessionVariables() {
	var sessions []*sql.Conn
	zones := []string{"+05:30", "-08:00", "+00:00"}
	for _, zone := range zones {
		db := open(func(c *mysql.Config) {
			c.Params = map[string]string{"time_zone": "'" + zone + "'", "sql_mode": "'ANSI_QUOTES,STRICT_ALL_TABLES'"}
		})
		defer db.Close()
		c := conn(db)
		exec(c, "set @mine = ?", zone)
		sessions = append(sessions, c)
	}
	for range 10 {
		for i, c := range sessions {
			equal(str(c, "select concat_ws(' ', @@time_zone, @@sql_mode, @mine)"), zones[i]+" ANSI_QUOTES,STRICT_ALL_TABLES "+zones[i])
		}
	}
}

func cancels() {
	// The driver closes the connection; the pool opens another.
	db := open()
	defer db.Close()
	short, cancel := context.WithTimeout(ctx, 200*time.Millisecond)
	defer cancel()
	_, err := db.ExecContext(short, "do sleep(30)")
	if err == nil {
		panic("it was not cancelled")
	}
	equal(str(conn(db), "select 1"), "1")
}

func main() {
	failed, all := 0, []struct {
		name  string
		check func()
	}{
		{"connects", connects}, {"connectsByTLS", connectsByTLS}, {"compresses", compresses}, {"cachingSha2", cachingSha2},
		{"roundTrip", roundTrip}, {"transactions", transactions}, {"prepared", prepared}, {"failures", failures},
		{"multiStatements", multiStatements}, {"streams", streams}, {"largeValue", largeValue}, {"warnings", warnings},
		{"lastInsertID", lastInsertID}, {"use", use}, {"sessionVariables", sessionVariables}, {"cancels", cancels},
	}
	for _, c := range all {
		func() {
			defer func() {
				if why := recover(); why != nil {
					failed++
					fmt.Println("FAILED", c.name, why)
				}
			}()
			c.check()
			fmt.Println("ok", c.name)
		}()
	}
	fmt.Println("checks", len(all), "failed", failed)
	if failed > 0 {
		os.Exit(1)
	}
}
