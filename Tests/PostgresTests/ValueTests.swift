import Postgres
import Primitives
import TestSupport
import Testing

/// Values on their way to the server and back.
struct ValueTests {
    private let connection: Connection

    init() throws {
        connection = try connect()
    }

    private func roundTrip<Value: PostgresEncodable & PostgresDecodable>(_ value: Value) throws -> Value {
        try connection.value("select \(value)", as: Value.self)
    }

    /// The value as the server prints it.
    private func text(_ value: some PostgresEncodable) throws -> String {
        try connection.value("select (\(value))::text", as: String.self)
    }

    @Test func numbersAndTruthComeBackAsTheyWere() throws {
        for value in [Int64.min, -1, 0, 1, .max] {
            #expect(try roundTrip(value) == value)
            #expect(try roundTrip(Int(value)) == Int(value))
            #expect(try text(value) == "\(value)")
        }
        for value in [Int32.min, 0, .max] { #expect(try roundTrip(value) == value) }
        for value in [Int16.min, 0, .max] { #expect(try roundTrip(value) == value) }
        for value in [0.1, -0.0, 1e300, .leastNonzeroMagnitude, .infinity, -.infinity] {
            #expect(try roundTrip(value).bitPattern == value.bitPattern)
        }
        #expect(try roundTrip(Double.nan).isNaN)
        #expect(try connection.value("select 1.5::real", as: Double.self) == 1.5)
        #expect(try roundTrip(true))
        #expect(try !roundTrip(false))
    }

    @Test(arguments: ["", "'", "''; drop table x; --", "$1 \\ \" \n\r\t", "ä 漢 🚲 e\u{301}", "NULL", "{a,b}"])
    func textsComeBackAsTheyWere(text: String) throws {
        #expect(try roundTrip(text) == text)
        #expect(try self.text(text) == text)
        #expect(try connection.value("select \(text) is null", as: Bool.self) == false)
        #expect(try roundTrip([text, text]) == [text, text])
        #expect(try connection.value("select octet_length(\(text))", as: Int.self) == text.utf8.count)
    }

    @Test func aLongTextComesBackAsItWas() throws {
        let text = String(repeating: "0123456789", count: 1_000_000)
        #expect(try roundTrip(text) == text)
    }

    @Test func bytesComeBackAsTheyWere() throws {
        let all = (0...255).map { UInt8($0) }
        #expect(try roundTrip(all) == all)
        #expect(try roundTrip([UInt8]()) == [])
        #expect(try text([0x00, 0xFF] as [UInt8]) == "\\x00ff")
    }

    @Test func nullIsNothingAndNothingElseIsNull() throws {
        #expect(try roundTrip(nil as String?) == nil)
        #expect(try roundTrip("" as String?) == "")
        #expect(try roundTrip(nil as Int64?) == nil)
        #expect(try roundTrip(7 as Int64?) == 7)
        #expect(try roundTrip(nil as JSON?) == nil)
        // JSON's null is a value.
        #expect(try roundTrip(JSON.null as JSON?) == .some(.null))
        #expect(try connection.value("select \(JSON.null) is null", as: Bool.self) == false)
        #expect(try connection.value("select \(nil as UUID?) is null", as: Bool.self))
        #expect(try connection.query("select null::text, ''")[0].bytes(0) == nil)
        #expect(try connection.query("select null::text, ''")[0].bytes(1) == [])
    }

    @Test func arraysComeBackAsTheyWere() throws {
        #expect(try roundTrip([Int64]()) == [])
        #expect(try roundTrip([1, 2, 3] as [Int64]) == [1, 2, 3])
        #expect(try roundTrip([-1, 0] as [Int32]) == [-1, 0])
        #expect(try roundTrip([true, false]) == [true, false])
        #expect(try roundTrip(["", "a,b", "{\"}", "NULL"]) == ["", "a,b", "{\"}", "NULL"])
        #expect(try roundTrip([0.5, .infinity]) == [0.5, .infinity])
        let ids = (0..<1000).map { _ in UUID.random() }
        #expect(try roundTrip(ids) == ids)
        let values: [JSON] = [.null, ["a": [1, 2]], "x"]
        #expect(try roundTrip(values) == values)
        let times = [Timestamp(microseconds: 0), Timestamp(microseconds: 1_764_000_000_123_456)]
        #expect(try roundTrip(times) == times)
        #expect(try text(["a", nil, ""] as [String?]) == "{a,NULL,\"\"}")
        #expect(try text([nil, 5] as [Int64?]) == "{NULL,5}")
        #expect(try text([.seconds(90), .milliseconds(1)] as [Duration]) == "{00:01:30,00:00:00.001}")
        #expect(try connection.value("select array_length(\([] as [String]), 1) is null", as: Bool.self))
    }

    @Test func arraysThatAreNotReadAreRefused() throws {
        for sql in ["select array[[1,2],[3,4]]", "select array[1,null]::bigint[]", "select 1"] {
            let error = try postgresError { _ = try connection.value(SQL("\(unsafeSQL: sql)"), as: [Int64].self) }
            #expect(error.kind == .decoding)
        }
    }

    @Test(arguments: [
        #"{"b":1,"a":{"c":[1,2.50,-0.000]},"d":"é\"\\\n"}"#, "123456789012345678901234567890.123456789", "[]", #""""#,
        "true",
    ])
    func jsonKeepsEveryDigit(text: String) throws {
        let value = try JSON(parsing: text)
        let returned = try roundTrip(value)
        // jsonb orders the members of an object.
        #expect(try connection.value("select \(value) = \(text)::jsonb", as: Bool.self))
        #expect(try connection.value("select \(returned) = \(text)::jsonb", as: Bool.self))
        #expect(try connection.value("select \(text)::json", as: JSON.self) == value)
        let bytes = try #require(try connection.query("select \(text)::jsonb")[0].bytes(0))
        #expect(bytes.first != 1)
        #expect(
            try connection.value("select \(text)::jsonb", as: String.self) == String(decoding: bytes, as: UTF8.self))
    }

    @Test func timesComeBackToTheMicrosecond() throws {
        for microseconds in [0, -1, 1, 946_684_800_000_000, 1_764_000_000_123_456, -62_135_596_800_000_000] {
            let time = Timestamp(microseconds: Int64(microseconds))
            #expect(try roundTrip(time) == time)
        }
        #expect(
            try connection.value("select timestamptz '2026-11-24 10:16:00.5+02'", as: Timestamp.self).rfc3339
                == "2026-11-24T08:16:00.500000Z")
        for infinity in ["infinity", "-infinity"] {
            let error = try postgresError {
                _ = try connection.value("select \(infinity)::timestamptz", as: Timestamp.self)
            }
            #expect(error.message == "column timestamptz: found an infinite timestamp, expected an instant")
        }
    }

    @Test func lengthsOfTimeAreExact() throws {
        #expect(try text(Duration.seconds(90)) == "00:01:30")
        #expect(try text(Duration.seconds(86_400 * 3)) == "72:00:00")
        #expect(try text(Duration.microseconds(-1)) == "-00:00:00.000001")
        #expect(
            try connection.value("select extract(epoch from \(Duration.milliseconds(1500)))::float8", as: Double.self)
                == 1.5)
    }

    @Test func idsComeBackAsTheyWere() throws {
        let id = UUID.random()
        #expect(try roundTrip(id) == id)
        #expect(try text(id) == id.description)
    }

    @Test func namesVarcharsAndEnumsAreTexts() throws {
        #expect(try connection.value("select 'a'::name", as: String.self) == "a")
        #expect(try connection.value("select 'a'::varchar(3)", as: String.self) == "a")
        #expect(try connection.value("select 'a'::char(3)", as: String.self) == "a  ")
        #expect(try connection.value("select 1::oid", as: Int.self) == 1)
    }

    @Test func aZeroInATextIsTheServersToRefuse() throws {
        let error = try postgresError { _ = try roundTrip("a\u{0}b") }
        #expect(error.sqlState?.rawValue == "22021")
        #expect(try roundTrip("still here") == "still here")
    }

    // MARK: - Reading what is not there

    @Test func anErrorOfDecodingNamesTheColumn() throws {
        let row = try connection.query("select 'x' as subject, null::bigint as size, 1::bigint as huge")[0]
        let mismatch = try postgresError { _ = try row.decode(0, as: Int64.self) }
        #expect(mismatch.kind == .decoding)
        #expect(mismatch.message == "column subject: found a value of type 25 (select 25::regtype), expected Int64")
        let null = try postgresError { _ = try row.decode(1, as: Int64.self) }
        #expect(null.message == "column size: found NULL, expected Int64")
        #expect(try row.decode(1, as: Int64?.self) == nil)
        let other = try postgresError { _ = try row.decode(2, as: String.self) }
        #expect(other.message == "column huge: found a value of type 20 (select 20::regtype), expected String")
    }

    @Test func aNumberThatDoesNotFitIsAnError() throws {
        let row = try connection.query("select 70000 as n")[0]
        #expect(try row.decode(0, as: Int64.self) == 70_000)
        #expect(try row.decode(0, as: Int32.self) == 70_000)
        let error = try postgresError { _ = try row.decode(0, as: Int16.self) }
        #expect(error.message == "column n: found 70000, which is too large for Int16")
    }

    // MARK: - Statements

    @Test func interpolatedStatementsKeepTheirParametersInOrder() throws {
        let inner: SQL = "(\(2 as Int64) + \(3 as Int64))"
        let name = "pg_temp"
        #expect(try connection.value("select \(1 as Int64) * 100 + \(inner) * \(10 as Int64)", as: Int64.self) == 150)
        #expect(try connection.value("select '\(unsafeSQL: name)'", as: String.self) == "pg_temp")
    }

    @Test func affectedCountsRows() throws {
        try connection.execute(script: "create temp table t (n int)")
        #expect(try connection.query("insert into t select generate_series(1, 7)").affected == 7)
        #expect(try connection.query("update t set n = 0 where n > 4").affected == 3)
        #expect(try connection.query("delete from t where n = 9").affected == 0)
        #expect(try connection.query("select * from t").affected == 7)
        #expect(try connection.query("select * from t").count == 7)
    }
}
