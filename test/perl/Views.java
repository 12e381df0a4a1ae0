/*
 * Reads every view of schema loyalty that the role may read as a BI tool does
 * that speaks JDBC, and prints one line per column: view, column, type's number
 * in java.sql.Types, precision and scale, and how many values it had; then one
 * line per view with its rows.  A value that the driver cannot turn into the
 * type it announced, or that is no number, ends the program.
 */
import java.math.BigDecimal;
import java.sql.Connection;
import java.sql.Date;
import java.sql.DriverManager;
import java.sql.ResultSet;
import java.sql.ResultSetMetaData;
import java.sql.Statement;
import java.sql.Timestamp;
import java.sql.Types;
import java.util.ArrayList;
import java.util.List;

public class Views {
	private static Object value(ResultSet rows, int column, int type) throws Exception {
		switch (type) {
			case Types.NUMERIC: return rows.getObject(column, BigDecimal.class);
			case Types.BIGINT: return rows.getObject(column, Long.class);
			case Types.INTEGER: return rows.getObject(column, Integer.class);
			case Types.SMALLINT: return rows.getObject(column, Short.class);
			case Types.BIT: return rows.getObject(column, Boolean.class);
			case Types.DATE: return rows.getObject(column, Date.class);
			case Types.TIMESTAMP: return rows.getObject(column, Timestamp.class);
			case Types.VARCHAR: return rows.getObject(column, String.class);
			default: throw new Exception("column " + column + " has a type of number " + type);
		}
	}

	public static void main(String[] args) throws Exception {
		try (Connection db = DriverManager.getConnection(args[0], args[1], "");
				Statement statement = db.createStatement()) {
			List<String> views = new ArrayList<>();
			try (ResultSet tables = db.getMetaData().getTables(null, "loyalty", "%", new String[] {"VIEW"})) {
				while (tables.next()) {
					views.add(tables.getString("TABLE_NAME"));
				}
			}
			for (String view : views) {
				try (ResultSet may = statement.executeQuery("SELECT has_table_privilege('loyalty." + view + "', 'SELECT')")) {
					may.next();
					if (!may.getBoolean(1)) {
						continue;
					}
				}
				try (ResultSet rows = statement.executeQuery("SELECT * FROM loyalty." + view)) {
					ResultSetMetaData meta = rows.getMetaData();
					long[] values = new long[meta.getColumnCount() + 1];
					long count = 0;
					for (; rows.next(); count++) {
						for (int i = 1; i < values.length; i++) {
							values[i] += value(rows, i, meta.getColumnType(i)) == null ? 0 : 1;
						}
					}
					for (int i = 1; i < values.length; i++) {
						System.out.println(view + "|" + meta.getColumnName(i) + "|" + meta.getColumnType(i) + "|"
							+ meta.getPrecision(i) + "|" + meta.getScale(i) + "|" + values[i]);
					}
					System.out.println(view + "||" + count);
				}
			}
		}
	}
}
