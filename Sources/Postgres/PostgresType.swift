/// A type of PostgreSQL with its array type; the numbers are fixed in the server's `pg_type.dat`.
package struct PostgresType: Sendable, Hashable {
    package let name: String
    package let oid: UInt32
    package let arrayOID: UInt32

    static let bool = PostgresType(name: "boolean", oid: 16, arrayOID: 1000)
    static let bytea = PostgresType(name: "bytea", oid: 17, arrayOID: 1001)
    static let int8 = PostgresType(name: "bigint", oid: 20, arrayOID: 1016)
    static let int2 = PostgresType(name: "smallint", oid: 21, arrayOID: 1005)
    static let int4 = PostgresType(name: "integer", oid: 23, arrayOID: 1007)
    static let text = PostgresType(name: "text", oid: 25, arrayOID: 1009)
    static let float8 = PostgresType(name: "double precision", oid: 701, arrayOID: 1022)
    static let timestamptz = PostgresType(name: "timestamp with time zone", oid: 1184, arrayOID: 1185)
    static let interval = PostgresType(name: "interval", oid: 1186, arrayOID: 1187)
    static let uuid = PostgresType(name: "uuid", oid: 2950, arrayOID: 2951)
    static let jsonb = PostgresType(name: "jsonb", oid: 3802, arrayOID: 3807)

    /// Types whose binary form is their text: text, varchar, bpchar, name, json, xml, unknown, "char".
    static let textual: Set<UInt32> = [25, 1043, 1042, 19, 114, 142, 705, 18]
}
