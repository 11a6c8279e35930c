// MySQL Connector/J and MariaDB Connector/J: the same checks, by JDBC.
//
// Usage: Checks mysql|mariadb
import java.math.BigDecimal;
import java.sql.*;
import java.util.*;
import java.util.concurrent.*;

public class Checks {
    static boolean mysql;
    static final String DATABASE = env("DATABASE"), OTHER = env("OTHER_DATABASE");
    static final String KV = env("PREFIX") + "_kv", TYPES = env("PREFIX") + "_types", AUTO = env("PREFIX") + "_auto";
    static final String[] CLIENT_SIDE = {"useServerPrepStmts=false"}, SERVER_SIDE = {"useServerPrepStmts=true"};
    static final String TLS = "tls";

    interface Check { void run() throws Exception; }
    interface Action { void run() throws SQLException; }

    static String env(String name) { return System.getenv("E2E_" + name); }

    static void equal(Object got, Object wanted) {
        if (!Objects.deepEquals(got, wanted)) {
            String text = "got " + got + ", wanted " + wanted;
            throw new AssertionError(text.substring(0, Math.min(500, text.length())));
        }
    }

    static void fails(int code, Action action) {
        try {
            action.run();
        } catch (SQLException e) {
            if (e.getErrorCode() != code) throw new AssertionError("wanted error " + code, e);
            return;
        }
        throw new AssertionError("no error, wanted " + code);
    }

    // Options are the driver's own; "tls" stands for what each calls a certificate that is not looked at.
    static Connection connectAs(String user, String password, String... options) throws SQLException {
        String url = "jdbc:" + (mysql ? "mysql" : "mariadb") + "://" + env("HOST") + ":" + env("PORT") + "/" + DATABASE;
        Properties all = new Properties();
        all.putAll(Map.of("user", user, "password", password, "allowPublicKeyRetrieval", "true", "maxAllowedPacket", "67108864"));
        all.put("sslMode", mysql ? "DISABLED" : "disable");
        for (String option : options) {
            int at = option.indexOf('=');
            if (option.equals(TLS)) all.put("sslMode", mysql ? "REQUIRED" : "trust");
            else all.put(option.substring(0, at), option.substring(at + 1));
        }
        return DriverManager.getConnection(url, all);
    }

    static Connection connect(String... options) throws SQLException {
        return connectAs(env("USER"), env("PASSWORD"), options);
    }

    static int exec(Connection c, String sql, Object... args) throws SQLException {
        if (args.length == 0) {
            try (Statement s = c.createStatement()) { s.execute(sql); return s.getUpdateCount(); }
        }
        try (PreparedStatement s = c.prepareStatement(sql)) {
            for (int i = 0; i < args.length; i++) s.setObject(i + 1, args[i]);
            s.execute();
            return s.getUpdateCount();
        }
    }

    static List<String> strings(Connection c, String sql, Object... args) throws SQLException {
        List<String> all = new ArrayList<>();
        try (PreparedStatement s = c.prepareStatement(sql)) {
            for (int i = 0; i < args.length; i++) s.setObject(i + 1, args[i]);
            try (ResultSet rows = s.executeQuery()) {
                while (rows.next()) all.add(rows.getString(1));
            }
        }
        return all;
    }

    static String string(Connection c, String sql, Object... args) throws SQLException {
        List<String> all = strings(c, sql, args);
        equal(all.size(), 1);
        return all.get(0);
    }

    static void connects() throws SQLException {
        try (Connection c = connect()) {
            equal(string(c, "select 1"), "1");
            equal(string(c, "select database()"), DATABASE);
            equal(c.getCatalog(), DATABASE);
            equal(c.isValid(10), true);
        }
        fails(1045, () -> connectAs(env("USER"), "wrong"));
    }

    static void everyLogin() throws SQLException {
        for (String[] how : new String[][] {{}, {TLS}}) {
            String version;
            try (Connection c = connectAs(env("NATIVE_USER"), env("NATIVE_PASSWORD"), how)) {
                version = c.getMetaData().getDatabaseProductVersion();
            }
            fails(1045, () -> connectAs(env("NATIVE_USER"), "wrong", how));
            // Connector/J takes MariaDB 10's greeting for a server that is too old for this method.
            if (mysql && version.startsWith("5.5.5-")) continue;
            // The second login of the same user takes the short way.
            for (int i = 0; i < 2; i++) {
                try (Connection c = connectAs(env("SHA2_USER"), env("SHA2_PASSWORD"), how)) { equal(string(c, "select 7"), "7"); }
            }
            fails(1045, () -> connectAs(env("SHA2_USER"), "wrong", how));
        }
    }

    static void tlsAndCompression() throws SQLException {
        for (String[] how : new String[][] {{TLS}, {"useCompression=true"}, {TLS, "useCompression=true"}}) {
            try (Connection c = connect(how)) {
                equal(string(c, "select repeat('x', 1000000)"), "x".repeat(1000000));
                equal(string(c, "select ?", "y".repeat(100000)), "y".repeat(100000));
            }
        }
    }

    static final String NAMES = "id,ti,tu,si,mi,i,bi,bu,d,f,db,da,t,dt,y,c,vc,tx,bin,bl,j,en";

    static void roundTrip() throws SQLException {
        byte[] all = new byte[256], many = new byte[100000];
        for (int i = 0; i < 256; i++) all[i] = (byte) i;
        Arrays.fill(many, (byte) 0xfe);
        Object[] row = {Long.MAX_VALUE, -128, 255, -32768, 8388607, Integer.MIN_VALUE, Long.MIN_VALUE,
            new BigDecimal("18446744073709551615"), new BigDecimal("-12345678901234567890.0123456789"), 0.5f, -1.5e300,
            "1000-01-01", "23:59:58.999999", "9999-12-31 23:59:59.999999", 2155, "ch", "Ünïcödé 🦀 '\"\\\0\n\u001a%",
            "🦀".repeat(1000), all, many, "{\"a\": [1, null, \"🦀\"]}", "y"};
        String insert = "insert into " + TYPES + " (" + NAMES + ") values (?" + ",?".repeat(row.length - 1) + ")";
        for (String[] how : new String[][] {CLIENT_SIDE, SERVER_SIDE}) {
            try (Connection c = connect(how)) {
                exec(c, "delete from " + TYPES + " where id in (?, -5)", Long.MAX_VALUE);
                Object[] nulls = new Object[row.length];
                nulls[0] = -5L;
                equal(exec(c, insert, row), 1);
                equal(exec(c, insert, nulls), 1);
                for (String[] read : new String[][] {CLIENT_SIDE, SERVER_SIDE}) {
                    try (Connection two = connect(read); PreparedStatement s = two.prepareStatement("select " + NAMES + " from " + TYPES + " where id = ?")) {
                        s.setLong(1, Long.MAX_VALUE);
                        try (ResultSet got = s.executeQuery()) {
                            equal(got.next(), true);
                            for (int i = 0; i < row.length; i++) sameValue(got, i + 1, row[i]);
                        }
                        s.setLong(1, -5);
                        try (ResultSet got = s.executeQuery()) {
                            equal(got.next(), true);
                            for (int i = 2; i <= row.length; i++) equal(got.getObject(i), null);
                            equal(got.next(), false);
                        }
                    }
                }
                exec(c, "update " + TYPES + " set bt = b'1010101010', se = 'a,c' where id = ?", -5);
                equal(string(c, "select concat(hex(bt), ' ', se) from " + TYPES + " where id = ?", -5), "2AA a,c");
            }
        }
    }

    static void sameValue(ResultSet got, int at, Object wanted) throws SQLException {
        if (wanted instanceof byte[]) equal(got.getBytes(at), wanted);
        else if (wanted instanceof BigDecimal) equal(got.getBigDecimal(at), wanted);
        else if (wanted instanceof Float) equal(got.getFloat(at), wanted);
        else if (wanted instanceof Double) equal(got.getDouble(at), wanted);
        else if (wanted instanceof Number n && !got.getMetaData().getColumnTypeName(at).equals("YEAR")) equal(got.getLong(at), n.longValue());
        else if (wanted instanceof Number n) equal(got.getShort(at), n.shortValue());
        else equal(got.getString(at), wanted);
    }

    static void transactions() throws SQLException {
        String ids = "select id from " + KV + " where id in (1,2,3,4,5,6)";
        for (String[] how : new String[][] {CLIENT_SIDE, SERVER_SIDE}) {
            try (Connection one = connect(how); Connection two = connect(how)) {
                exec(two, "delete from " + KV + " where id in (1,2,3,4,5,6)");
                one.setAutoCommit(false);
                for (boolean commit : new boolean[] {false, true}) {
                    for (int i = 1; i <= 6; i++) exec(one, "insert into " + KV + " (id, v) values (?, 'x')", i);
                    equal(strings(two, ids).size(), 0);
                    if (commit) one.commit();
                    else one.rollback();
                    equal(strings(two, ids).size(), commit ? 6 : 0);
                }
                exec(one, "update " + KV + " set v = 'y' where id = 4");
                Savepoint s = one.setSavepoint("s");
                exec(one, "update " + KV + " set v = 'z' where id = 4");
                exec(one, "update " + KV + " set v = 'z' where id = 5");
                one.rollback(s);
                one.commit();
                equal(string(two, "select v from " + KV + " where id = 4"), "y");
                equal(string(two, "select v from " + KV + " where id = 5"), "x");
                one.setAutoCommit(true);
                one.setTransactionIsolation(Connection.TRANSACTION_READ_COMMITTED);
                equal(one.getTransactionIsolation(), Connection.TRANSACTION_READ_COMMITTED);
                one.setReadOnly(true);
                one.setReadOnly(false);
                exec(one, "delete from " + KV + " where id = 6");
                equal(strings(two, ids).size(), 5);
            }
        }
    }

    static void prepared() throws SQLException {
        for (String[] how : new String[][] {CLIENT_SIDE, SERVER_SIDE, {"useServerPrepStmts=true", "cachePrepStmts=true"}}) {
            try (Connection c = connect(how)) {
                exec(c, "replace into " + KV + " (id, v) values (20, 'v')");
                Object[] values = {1, "two", 3.5, null, 1L << 40, "ü🦀", -1, true};
                String[] wanted = {"1", "two", "3.5", null, "1099511627776", "ü🦀", "-1", "1"};
                try (PreparedStatement s = c.prepareStatement("select id, ? from " + KV + " where id = ?")) {
                    for (int i = 0; i < 400; i++) {
                        s.setObject(1, values[i % 8]);
                        s.setInt(2, 20);
                        try (ResultSet rows = s.executeQuery()) {
                            equal(rows.next(), true);
                            equal(rows.getInt(1), 20);
                            equal(rows.getString(2), wanted[i % 8]);
                        }
                    }
                }
                for (int i = 0; i < 300; i++) equal(string(c, "select " + i + " + ?", 1), String.valueOf(i + 1));
            }
        }
    }

    // Rows fetched in steps: by a cursor on the server, or by reading the socket no faster than asked.
    static void cursorFetch() throws SQLException {
        String sql = "select id from big where id > ?";
        try (Connection c = connect("useServerPrepStmts=true", "useCursorFetch=true", "defaultFetchSize=7")) {
            for (int from : new int[] {0, 95, 1000}) {
                List<String> got = strings(c, sql, from);
                equal(got.size(), Math.max(0, 100 - from));
                equal(new HashSet<>(got).size(), got.size());
            }
            // Left in the middle, the connection goes on.
            try (PreparedStatement s = c.prepareStatement(sql)) {
                s.setInt(1, 0);
                ResultSet rows = s.executeQuery();
                for (int i = 0; i < 10; i++) equal(rows.next(), true);
            }
            equal(string(c, "select 'still here'"), "still here");
        }
    }

    static void batches() throws SQLException {
        List<String[]> ways = new ArrayList<>(List.of(CLIENT_SIDE, SERVER_SIDE, new String[] {"rewriteBatchedStatements=true"},
            new String[] {"rewriteBatchedStatements=true", "useServerPrepStmts=true"}));
        if (!mysql) ways.add(new String[] {"useServerPrepStmts=true", "useBulkStmts=true"});
        String where = " where id between 1000 and 1999";
        for (String[] how : ways) {
            try (Connection c = connect(how)) {
                exec(c, "delete from " + KV + where);
                c.setAutoCommit(false);
                try (PreparedStatement s = c.prepareStatement("insert into " + KV + " (id, v) values (?, ?)")) {
                    for (int i = 1000; i < 1500; i++) {
                        s.setInt(1, i);
                        s.setString(2, "v" + i);
                        s.addBatch();
                    }
                    equal(s.executeBatch().length, 500);
                }
                c.commit();
                List<String> got = strings(c, "select v from " + KV + where);
                equal(got.size(), 500);
                equal(new TreeSet<>(got).last(), "v1499");
                try (PreparedStatement s = c.prepareStatement("update " + KV + " set v = ? where id = ?")) {
                    for (int i = 1000; i < 1010; i++) {
                        s.setString(1, "w");
                        s.setInt(2, i);
                        s.addBatch();
                    }
                    equal(s.executeBatch().length, 10);
                }
                try (Statement s = c.createStatement()) {
                    for (int i = 1010; i < 1020; i++) s.addBatch("update " + KV + " set v = 'w' where id = " + i);
                    equal(s.executeBatch().length, 10);
                }
                c.commit();
                equal(strings(c, "select v from " + KV + where + " and v = 'w'").size(), 20);
                // One that fails: the error is its own.
                try (PreparedStatement s = c.prepareStatement("insert into " + KV + " (id, v) values (?, 'x')")) {
                    for (int i : new int[] {1500, 1000, 1501}) {
                        s.setInt(1, i);
                        s.addBatch();
                    }
                    fails(1062, s::executeBatch);
                }
                c.rollback();
                equal(string(c, "select 'still here'"), "still here");
            }
        }
    }

    static void errors() throws SQLException {
        for (String[] how : new String[][] {CLIENT_SIDE, SERVER_SIDE}) {
            try (Connection c = connect(how)) {
                exec(c, "replace into " + KV + " (id) values (10)");
                fails(1062, () -> exec(c, "insert into " + KV + " (id) values (10)"));
                fails(1062, () -> exec(c, "insert into " + KV + " (id) values (?)", 10));
                fails(1064, () -> exec(c, "selekt 1"));
                fails(1064, () -> exec(c, "selekt ?", 1));
                fails(1146, () -> strings(c, "select * from no_such_table where id = ?", 1));
                fails(1054, () -> strings(c, "select nothing from " + KV + " where id = ?", 1));
                equal(string(c, "select 'still here'"), "still here");
            }
        }
    }

    static void multiStatements() throws SQLException {
        try (Connection c = connect("allowMultiQueries=true"); Statement s = c.createStatement()) {
            exec(c, "replace into " + KV + " (id, v) values (20, 'v')");
            boolean rows = s.execute("select 1; select 2; set @a = 4; select hex(v) from " + KV + " where id = 20; select 5");
            List<String> got = new ArrayList<>();
            while (rows || s.getUpdateCount() != -1) {
                if (rows) {
                    ResultSet r = s.getResultSet();
                    while (r.next()) got.add(r.getString(1));
                }
                rows = s.getMoreResults();
            }
            equal(got, List.of("1", "2", "76", "5"));
            fails(1064, () -> { s.execute("do 1; selekt 2"); while (s.getMoreResults() || s.getUpdateCount() != -1) { } });
            equal(string(c, "select 'still here'"), "still here");
        }
    }

    static void streams() throws SQLException {
        for (String[] how : new String[][] {CLIENT_SIDE, SERVER_SIDE}) {
            try (Connection c = connect(how); PreparedStatement s = c.prepareStatement("select id, repeat(v, 1048576) from big where id > ?")) {
                s.setFetchSize(mysql ? Integer.MIN_VALUE : 1);
                s.setInt(1, 0);
                long sum = 0, size = 0;
                try (ResultSet rows = s.executeQuery()) {
                    while (rows.next()) {
                        sum += rows.getInt(1);
                        size += rows.getBytes(2).length;
                    }
                }
                equal(sum, 5050L);
                equal(size, 100L << 20);
                equal(string(c, "select 1"), "1");
            }
        }
    }

    static void largeValue() throws SQLException {
        byte[] data = new byte[32 << 20];
        new Random(7).nextBytes(data);
        for (String[] how : new String[][] {CLIENT_SIDE, SERVER_SIDE}) {
            try (Connection c = connect(how)) {
                exec(c, "delete from " + KV + " where id = 30");
                if (mysql && how == CLIENT_SIDE) {
                    // It writes bytes as hexadecimal digits: all at once is more than 64 MiB.
                    int half = data.length / 2;
                    exec(c, "insert into " + KV + " (id, v) values (30, ?)", (Object) Arrays.copyOf(data, half));
                    exec(c, "update " + KV + " set v = concat(v, ?) where id = 30", (Object) Arrays.copyOfRange(data, half, data.length));
                } else {
                    exec(c, "insert into " + KV + " (id, v) values (30, ?)", (Object) data);
                }
                try (PreparedStatement s = c.prepareStatement("select v from " + KV + " where id = ?")) {
                    s.setInt(1, 30);
                    try (ResultSet rows = s.executeQuery()) {
                        equal(rows.next(), true);
                        if (!Arrays.equals(rows.getBytes(1), data)) throw new AssertionError("the value came back changed");
                    }
                }
                // In pieces (COM_STMT_SEND_LONG_DATA), where the driver knows how.
                try (PreparedStatement s = c.prepareStatement("update " + KV + " set v = ? where id = 30")) {
                    s.setBinaryStream(1, new java.io.ByteArrayInputStream(data, 0, 3 << 20), 3 << 20);
                    equal(s.executeUpdate(), 1);
                }
                equal(string(c, "select length(v) from " + KV + " where id = 30"), String.valueOf(3 << 20));
                exec(c, "delete from " + KV + " where id = 30");
            }
        }
    }

    static void warnings() throws SQLException {
        try (Connection c = connect(); Statement s = c.createStatement()) {
            try (ResultSet rows = s.executeQuery("select cast('12x' as signed)")) { equal(rows.next(), true); }
            SQLWarning warning = s.getWarnings();
            equal(warning != null && warning.getErrorCode() == 1292, true);
        }
    }

    static void generatedKeys() throws SQLException {
        try (Connection c = connect(); Statement s = c.createStatement()) {
            s.executeUpdate("insert into " + AUTO + " (v) values ('a')", Statement.RETURN_GENERATED_KEYS);
            ResultSet keys = s.getGeneratedKeys();
            equal(keys.next(), true);
            long one = keys.getLong(1);
            equal(string(c, "select last_insert_id()"), String.valueOf(one));
            s.executeUpdate("insert into " + AUTO + " (v) values ('b'), ('c')", Statement.RETURN_GENERATED_KEYS);
            keys = s.getGeneratedKeys();
            equal(keys.next(), true);
            equal(keys.getLong(1) > one, true);
            equal(string(c, "select v from " + AUTO + " where id = ?", keys.getLong(1)), "b");
        }
    }

    static void use() throws SQLException {
        try (Connection c = connect()) {
            c.setCatalog(OTHER);
            equal(string(c, "select database()"), OTHER);
            c.setCatalog(DATABASE);
            fails(1049, () -> c.setCatalog("no_such_database"));
            equal(string(c, "select database()"), DATABASE);
        }
    }

    static void metadata() throws SQLException {
        try (Connection c = connect()) {
            DatabaseMetaData meta = c.getMetaData();
            Set<String> tables = new HashSet<>(), columns = new LinkedHashSet<>(), keys = new HashSet<>();
            try (ResultSet rows = meta.getTables(DATABASE, null, KV, new String[] {"TABLE"})) {
                while (rows.next()) tables.add(rows.getString("TABLE_NAME"));
            }
            try (ResultSet rows = meta.getColumns(DATABASE, null, KV, "%")) {
                while (rows.next()) columns.add(rows.getString("COLUMN_NAME"));
            }
            try (ResultSet rows = meta.getPrimaryKeys(DATABASE, null, KV)) {
                while (rows.next()) keys.add(rows.getString("COLUMN_NAME"));
            }
            equal(tables, Set.of(KV));
            equal(List.copyOf(columns), List.of("id", "v"));
            equal(keys, Set.of("id"));
        }
    }

    static void sessionVariables() throws SQLException {
        String[] zones = {"+05:30", "-08:00", "+00:00"};
        List<Connection> sessions = new ArrayList<>();
        for (String zone : zones) {
            Connection c = connect("sessionVariables=time_zone='" + zone + "',sql_mode='ANSI_QUOTES,STRICT_TRANS_TABLES'");
            exec(c, "set @mine = ?", zone);
            sessions.add(c);
        }
        for (int i = 0; i < 30; i++) {
            String got = string(sessions.get(i % 3), "select concat_ws(' ', @@time_zone, @@sql_mode, @mine)");
            equal(got, zones[i % 3] + " ANSI_QUOTES,STRICT_TRANS_TABLES " + zones[i % 3]);
        }
        for (Connection c : sessions) c.close();
    }

    static void cancels() throws Exception {
        try (Connection c = connect(); Statement s = c.createStatement()) {
            s.setQueryTimeout(1);
            String why = "none";
            try {
                // An interrupted SLEEP returns 1; anything else that is interrupted is an error.
                try (ResultSet rows = s.executeQuery("select sleep(30)")) { rows.next(); why = rows.getString(1); }
            } catch (SQLException e) { why = "error"; }
            equal(Set.of("1", "error").contains(why), true);
            equal(string(c, "select 1"), "1");
        }
        ExecutorService other = Executors.newSingleThreadExecutor();
        try (Connection c = connect(); Statement s = c.createStatement()) {
            Future<?> running = other.submit(() -> s.executeQuery("select sleep(30), 1 from big where id = 1"));
            // Until it runs there is nothing to cancel.
            while (!running.isDone()) {
                s.cancel();
                Thread.sleep(20);
            }
            equal(string(c, "select 1"), "1");
        } finally {
            other.shutdown();
        }
    }

    public static void main(String[] args) {
        mysql = args[0].equals("mysql");
        Map<String, Check> all = new LinkedHashMap<>();
        all.put("connects", Checks::connects);
        all.put("everyLogin", Checks::everyLogin);
        all.put("tlsAndCompression", Checks::tlsAndCompression);
        all.put("roundTrip", Checks::roundTrip);
        all.put("transactions", Checks::transactions);
        all.put("prepared", Checks::prepared);
        all.put("cursorFetch", Checks::cursorFetch);
        all.put("batches", Checks::batches);
        all.put("errors", Checks::errors);
        all.put("multiStatements", Checks::multiStatements);
        all.put("streams", Checks::streams);
        all.put("largeValue", Checks::largeValue);
        all.put("warnings", Checks::warnings);
        all.put("generatedKeys", Checks::generatedKeys);
        all.put("use", Checks::use);
        all.put("metadata", Checks::metadata);
        all.put("sessionVariables", Checks::sessionVariables);
        all.put("cancels", Checks::cancels);
        int failed = 0;
        for (Map.Entry<String, Check> check : all.entrySet()) {
            try {
                check.getValue().run();
                System.out.println("ok " + check.getKey());
            } catch (Throwable why) {
                failed++;
                System.out.println("FAILED " + check.getKey());
                why.printStackTrace(System.out);
            }
        }
        System.out.println("checks " + all.size() + " failed " + failed);
        System.exit(failed > 0 ? 1 : 0);
    }
}
