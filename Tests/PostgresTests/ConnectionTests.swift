import Postgres
import Primitives
import TestSupport
import Testing

/// Statements, their plans, transactions, pipelines and copies of one connection.
struct ConnectionTests {
    private let connection: Connection

    init() throws {
        connection = try connect()
    }

    private func preparedStatements() throws -> Int {
        try connection.value("select count(*) from pg_prepared_statements", as: Int.self)
    }

    // MARK: - Prepared statements

    @Test func aStatementIsPreparedOnce() throws {
        let before = try preparedStatements()
        for n in 0..<10 { #expect(try connection.value("select \(n) + 1", as: Int.self) == n + 1) }
        #expect(try preparedStatements() == before + 1)
    }

    @Test func thereAreNeverMoreThan128() throws {
        for n in 0..<500 { #expect(try connection.value("select \(unsafeSQL: "\(n)")", as: Int.self) == n) }
        #expect(try preparedStatements() == 128)
        // One that made room is prepared anew.
        #expect(try connection.value("select 0", as: Int.self) == 0)
    }

    @Test func aStatementThatCannotBePreparedIsForgotten() throws {
        let before = try preparedStatements()
        for _ in 0..<3 {
            #expect(try postgresError { try connection.query("select * from nowhere") }.sqlState == .undefinedTable)
        }
        try connection.execute(script: "create temp table nowhere (n int)")
        #expect(try connection.query("select * from nowhere").count == 0)
        #expect(try preparedStatements() == before + 1)
    }

    @Test func aTableThatChangedIsNoError() throws {
        try connection.execute(script: "create temp table t (a int); insert into t values (1)")
        #expect(try connection.query("select * from t")[0].decode(0, as: Int.self) == 1)
        try connection.execute(script: "alter table t alter a type text")
        #expect(try connection.query("select * from t")[0].decode(0, as: String.self) == "1")
    }

    @Test func aTableThatChangedIsNoErrorInAPipeline() throws {
        try connection.execute(script: "create temp table t (a int); insert into t values (1)")
        let pipeline: [SQL] = ["insert into t select max(a) from t", "select * from t", "select 7"]
        #expect(try connection.pipeline(pipeline)[1].count == 2)
        try connection.execute(script: "alter table t add b int")
        let rows = try connection.pipeline(pipeline)
        #expect(rows[1].count == 3)  // and not 4: the first try left nothing behind
        #expect(try rows[1][0].decode(1, as: Int?.self) == nil)
        #expect(try rows[2][0].decode(0, as: Int.self) == 7)
    }

    @Test(arguments: [false, true])
    func inATransactionTheNextTryFindsTheNewTable(pipelined: Bool) throws {
        try connection.execute(script: "create temp table t (a int)")
        func read() throws {
            if pipelined {
                _ = try connection.pipeline(["select * from t"])
            } else {
                try connection.query("select * from t")
            }
        }
        try connection.transaction { try read() }
        try connection.execute(script: "alter table t add b int")
        // What the transaction did before is lost, so it cannot be mended in silence.
        #expect(try postgresError { try connection.transaction { try read() } }.sqlState == .featureNotSupported)
        try connection.transaction { try read() }
        #expect(try preparedStatements() < 10)
    }

    @Test func whatTheServerNeverSupportsIsAnErrorOnce() throws {
        let error = try postgresError { try connection.query("select count(*) from pg_class for update") }
        #expect(error.sqlState == .featureNotSupported)
        #expect(try connection.value("select 1", as: Int.self) == 1)
    }

    // MARK: - Transactions

    @Test func aTransactionThatThrowsLeavesNothing() throws {
        struct Mine: Error {}
        try connection.execute(script: "create temp table t (n int)")
        #expect(throws: Mine.self) {
            try connection.transaction {
                try connection.query("insert into t values (1)")
                throw Mine()
            }
        }
        #expect(throws: PostgresError.self) {
            try connection.transaction {
                try connection.query("insert into t values (2)")
                try connection.query("select 1 / 0")
            }
        }
        #expect(try connection.transaction { try connection.query("insert into t values (3)").affected } == 1)
        #expect(try connection.value("select sum(n) from t", as: Int.self) == 3)
    }

    @Test func aScriptIsAllOrNone() throws {
        try connection.execute(script: "create temp table t (n int)")
        #expect(throws: PostgresError.self) {
            try connection.execute(script: "insert into t values (1); select 1 / 0; insert into t values (2)")
        }
        #expect(try connection.query("select * from t").isEmpty)
    }

    // MARK: - Pipelines

    @Test func aPipelineReturnsEachResult() throws {
        let rows = try connection.pipeline((0..<5).map { "select \($0)" } + ["select 'x' where false"])
        #expect(try rows[..<5].map { try $0[0].decode(0, as: Int.self) } == [0, 1, 2, 3, 4])
        #expect(rows[5].isEmpty)
        #expect(try connection.pipeline([]).isEmpty)
    }

    @Test func aPipelineIsAllOrNoneAndTheConnectionGoesOn() throws {
        try connection.execute(script: "create temp table t (n int primary key)")
        let insert = { (n: Int) -> SQL in "insert into t values (\(n)::int)" }
        let error = try postgresError { _ = try connection.pipeline([insert(1), insert(2), insert(1), insert(3)]) }
        #expect(error.sqlState == .uniqueViolation)
        #expect(try connection.query("select * from t").isEmpty)
        #expect(try connection.pipeline([insert(1), insert(2)]).map(\.affected) == [1, 1])
        #expect(try connection.value("select count(*) from t", as: Int.self) == 2)
    }

    @Test func aPipelineThatCannotBePreparedDoesNothing() throws {
        try connection.execute(script: "create temp table t (n int)")
        let error = try postgresError { _ = try connection.pipeline(["insert into t values (1)", "selec 1"]) }
        #expect(error.sqlState?.errorClass == "42")
        #expect(try connection.query("select * from t").isEmpty)
    }

    @Test func aPipelineInATransactionIsPartOfIt() throws {
        try connection.execute(script: "create temp table t (n int)")
        #expect(throws: PostgresError.self) {
            try connection.transaction {
                _ = try connection.pipeline(["insert into t values (1)", "insert into t values (2)"])
                _ = try connection.pipeline(["insert into t values (3)", "select 1 / 0"])
            }
        }
        #expect(try connection.query("select * from t").isEmpty)
    }

    @Test func aPipelineOfMoreStatementsThanAreKeptPrepared() throws {
        let rows = try connection.pipeline((0..<300).map { "select \(unsafeSQL: "\($0)")" })
        #expect(try rows.map { try $0[0].decode(0, as: Int.self) } == Array(0..<300))
        #expect(try preparedStatements() <= 128)
    }

    @Test func tenThousandStatementsThatSendAndReturnMuchDoNotDeadlock() throws {
        let much = String(repeating: "x", count: 2000)
        let rows = try connection.pipeline((0..<10_000).map { "select \($0), \(much)" })
        #expect(rows.count == 10_000)
        #expect(try rows[9999][0].decode(0, as: Int.self) == 9999)
        #expect(try rows[9999][0].decode(1, as: String.self) == much)
    }

    // MARK: - COPY

    @Test func copyBringsRowsIn() throws {
        try connection.execute(script: "create temp table t (n int, s text)")
        let count = try connection.copy(into: "copy t from stdin") { write throws(PostgresError) in
            for n in 0..<50_000 { try write("\(n)\tzeile \(n) ä\n") }
        }
        #expect(count == 50_000)
        #expect(try connection.value("select count(*) from t where s = 'zeile ' || n || ' ä'", as: Int.self) == 50_000)
    }

    @Test func aCopyThatTheServerRefusesLeavesNothingAndTheConnectionGoesOn() throws {
        try connection.execute(script: "create temp table t (n int)")
        let pipeline: [SQL] = ["select count(*) from t", "select 1"]
        _ = try connection.pipeline(pipeline)
        let error = try postgresError {
            _ = try connection.copy(into: "copy t from stdin") { write throws(PostgresError) in
                try write("1\n2\n")
                try write("three\n")
                try write(String(repeating: "4\n", count: 100_000))
            }
        }
        #expect(error.sqlState?.errorClass == "22")
        #expect(error.context?.contains("line 3") == true)
        // A pipeline is the first to mind what a copy left on the wire.
        #expect(try connection.pipeline(pipeline)[0][0].decode(0, as: Int.self) == 0)
    }

    @Test func aCopyWhoseWriterGivesUpLeavesNothing() throws {
        struct Mine: Error {}
        try connection.execute(script: "create temp table t (n int)")
        let pipeline: [SQL] = ["select count(*) from t"]
        _ = try connection.pipeline(pipeline)
        #expect(throws: Mine.self) {
            try connection.copy(into: "copy t from stdin") { write in
                try write("1\n")
                throw Mine()
            }
        }
        #expect(try connection.pipeline(pipeline)[0][0].decode(0, as: Int.self) == 0)
    }

    @Test func aCopyThatCannotBeginSaysWhy() throws {
        let error = try postgresError { _ = try connection.copy(into: "copy nowhere from stdin") { _ in } }
        #expect(error.sqlState == .undefinedTable)
        #expect(try connection.value("select 1", as: Int.self) == 1)
    }

    // MARK: - Errors

    @Test func anErrorTellsEverythingButItsDescriptionQuotesNoData() throws {
        try connection.execute(script: "create temp table t (n text primary key); insert into t values ('hush')")
        let error = try postgresError { try connection.query("insert into t values ('hush')") }
        #expect(error.kind == .server(.uniqueViolation))
        #expect(.uniqueViolation ~= error)
        #expect(!(SQLState.lockNotAvailable ~= error))
        #expect(error.sqlState?.errorClass == "23")
        #expect(!error.description.contains("hush"))
        #expect(error.debugDescription.contains("(n)=(hush)"))
    }

    @Test func aHintIsPartOfTheDescription() throws {
        let error = try postgresError {
            try connection.execute(
                script: "do $$ begin raise 'topic full' using errcode = 'OR001', hint = 'wait a little'; end $$")
        }
        #expect(error.description == "topic full (hint: wait a little)")
        #expect(error.sqlState?.rawValue == "OR001")
        #expect(error.sqlState?.errorClass == "OR")
    }

    @Test func aStatementThatTakesTooLongIsCancelled() throws {
        let connection = try connect { $0.statementTimeout = .milliseconds(100) }
        #expect(try postgresError { try connection.query("select pg_sleep(30)") }.sqlState == .queryCanceled)
        #expect(try postgresError { _ = try connection.pipeline(["select pg_sleep(30)"]) }.sqlState == .queryCanceled)
        #expect(try connection.value("select current_setting('statement_timeout')", as: String.self) == "100ms")
    }

    @Test func settingsAreThoseOfTheSession() throws {
        let connection = try connect {
            $0.applicationName = "it's \"me\""
            $0.settings = [("work_mem", "7MB"), ("search_path", "a'b, pg_temp")]
        }
        #expect(try connection.value("select current_setting('application_name')", as: String.self) == "it's \"me\"")
        #expect(try connection.value("select current_setting('work_mem')", as: String.self) == "7MB")
        #expect(
            try postgresError { _ = try connect { $0.settings = [("work_mem", "much")] } }.sqlState?.rawValue == "22023"
        )
    }
}
