import EmbeddedPostgres
import Postgres
import Primitives
import TestSupport
import Testing

/// Which failures to connect may pass by themselves, and what becomes of a session that is lost.
struct ConnectingTests {
    private let cluster = TestCluster.shared

    private func failure(_ conninfo: String) throws -> PostgresError {
        try postgresError { _ = try Connection(conninfo) }
    }

    // MARK: - Connecting

    @Test(arguments: [
        "postgresql://[::1/db", "postgresql://host:port/db", "postgresql://127.0.0.1:99999/db", "host=127.0.0.1 prot=1",
        "postgresql://127.0.0.1/db?sslmode=perhaps",
    ])
    func aMalformedStringIsLasting(conninfo: String) throws {
        #expect(try failure(conninfo).kind == .cannotConnect(retryable: false))
    }

    @Test func anUnknownDatabaseOrRoleIsLasting() throws {
        let database = try failure(cluster.url(database: "nowhere"))
        #expect(database.kind == .cannotConnect(retryable: false))
        #expect(database.message.contains("database \"nowhere\" does not exist"))
        #expect(
            try failure("postgresql://nobody_here@127.0.0.1:\(cluster.port)/postgres").kind
                == .cannotConnect(retryable: false))
    }

    @Test func aRoleThatMayNotLogInIsLasting() throws {
        try connect().execute(script: "create role test_group nologin")
        #expect(
            try failure("postgresql://test_group@127.0.0.1:\(cluster.port)/postgres").kind
                == .cannotConnect(retryable: false))
    }

    @Test func aWrongPasswordIsLasting() async throws {
        let admin = Session(cluster.url())
        try await admin.run { try $0.execute(script: "create role test_guarded login password 'right'") }
        // The first line that matches decides.
        let file = "\(cluster.directory)/data/pg_hba.conf"
        let before = try #require(Files.text(file))
        Files.write("host all test_guarded 127.0.0.1/32 scram-sha-256\n" + before, to: file)
        try await admin.run { _ = try $0.query("select pg_reload_conf()") }
        let port = cluster.port
        func url(_ password: String) -> String { "postgresql://test_guarded\(password)@127.0.0.1:\(port)/postgres" }
        try await eventually("the server asks for passwords") { (try? Connection(url(":wrong"))) == nil }
        let wrong = try failure(url(":wrong"))
        #expect(wrong.kind == .cannotConnect(retryable: false))
        #expect(wrong.message.contains("password authentication failed"))
        #expect(!wrong.message.contains("wrong"))
        #expect(try failure(url("")).kind == .cannotConnect(retryable: false))
        #expect(try Connection(url(":right")).user == "test_guarded")
        await admin.close()
    }

    @Test func refusedIsRetryable() throws {
        let port = ReservedPort()
        let error = try failure("postgresql://postgres@127.0.0.1:\(port.number)/postgres")
        #expect(error.kind == .cannotConnect(retryable: true))
        #expect(error.message.contains("Connection refused"))
    }

    @Test func aSocketFileThatIsMissingIsRetryable() throws {
        let folder = TemporaryFolder()
        #expect(try failure("host=\(folder.path) dbname=postgres").kind == .cannotConnect(retryable: true))
    }

    @Test func aNameThatDoesNotResolveIsRetryable() throws {
        #expect(try failure("postgresql://outrider.invalid/postgres").kind == .cannotConnect(retryable: true))
    }

    @Test func tooManyConnectionsIsRetryable() throws {
        try connect().execute(script: "create role test_crowd login connection limit 1")
        let url = "postgresql://test_crowd@127.0.0.1:\(cluster.port)/postgres"
        let first = try Connection(url)
        #expect(try failure(url).kind == .cannotConnect(retryable: true))
        _ = first
    }

    @Test func aServerWithoutTLSThatMustHaveItIsLasting() throws {
        #expect(try failure(cluster.url() + "?sslmode=require").kind == .cannotConnect(retryable: false))
    }

    @Test func theSecondHostIsFound() throws {
        let dead = ReservedPort()
        let connection = try Connection(
            "postgresql://postgres@127.0.0.1:\(dead.number),127.0.0.1:\(cluster.port)/postgres")
        #expect(try connection.value("select 1", as: Int.self) == 1)
        #expect(connection.host == "127.0.0.1")
        #expect(connection.database == "postgres")
        #expect(connection.user == "postgres")
        #expect(!connection.isEncrypted)
        #expect(connection.serverVersion >= 130_000)
    }

    @Test func whatTheStringSaysWinsOverTheOptions() throws {
        var options = ConnectionOptions()
        options.applicationName = "from options"
        let connection = try Connection(cluster.url() + "?application_name=from%20url", options: options)
        #expect(try connection.value("select current_setting('application_name')", as: String.self) == "from url")
    }

    // MARK: - Losing

    @Test func aSessionThatTheServerEndsIsLost() throws {
        let connection = try connect()
        try connection.terminate()
        #expect(try postgresError { try connection.query("select 1") }.kind == .connectionLost)
        #expect(try postgresError { try connection.query("select 1") }.kind == .connectionLost)
    }

    @Test func aPipelineOrACopyOfALostSessionIsLostToo() throws {
        let pipelining = try connect()
        _ = try pipelining.pipeline(["select 1"])
        try pipelining.terminate()
        #expect(try postgresError { _ = try pipelining.pipeline(["select 1"]) }.kind == .connectionLost)

        let copying = try connect()
        try copying.execute(script: "create temp table t (n int)")
        let error = try postgresError {
            _ = try copying.copy(into: "copy t from stdin") { write throws(PostgresError) in
                try write("1\n")
                do { try copying.terminate() } catch { throw .connectionLost("cannot terminate: \(error)") }
                for _ in 0..<100 { try write(String(repeating: "1\n", count: 100_000)) }
            }
        }
        #expect(error.kind == .connectionLost)
        #expect(!error.message.contains("cannot terminate"))
    }

    @Test func aStatementThatIsRunningWhenTheSessionEndsIsLost() async throws {
        let victim = DedicatedThread(name: "victim") {
            let connection = try connect()
            let pid = connection.backendPID
            let killer = DedicatedThread(name: "killer") {
                let observer = try connect()
                var isAsleep = false
                while !isAsleep {
                    isAsleep = try observer.value(
                        "select exists (select from pg_stat_activity where pid = \(pid) and wait_event = 'PgSleep')")
                }
                try observer.query("select pg_terminate_backend(\(pid))")
            }
            #expect(try postgresError { try connection.query("select pg_sleep(60)") }.kind == .connectionLost)
            _ = killer
        }
        try await victim.join()
    }
}
