package import Postgres
import Primitives

/// What `outrider doctor` finds out about a database.
package struct Diagnosis {
    package enum Verdict: String, Sendable {
        case ok, warn, fail
    }

    package struct Finding: Sendable {
        package let verdict: Verdict
        package let subject: String
        package let found: String
        /// What to do; nil when all is well.
        package var remedy: String?
    }

    private let connection: Connection
    private var findings: [Finding] = []

    /// - Parameter longTransaction: from when on a transaction is worth a warning.
    package static func of(_ connection: Connection, longTransaction: Duration = .seconds(300)) throws -> [Finding] {
        var diagnosis = Diagnosis(connection: connection)
        try diagnosis.examineServer()
        try diagnosis.examineSettings()
        try diagnosis.examineTransactions(olderThan: longTransaction)
        let isSchemaRight = try diagnosis.ifAllowed("schema") { try $0.examineSchema() }
        if isSchemaRight != false {
            try diagnosis.ifAllowed("privileges") { try $0.examinePrivileges() }
        }
        if isSchemaRight == true {
            try diagnosis.ifAllowed("tables") { try $0.examineTables() }
            try diagnosis.ifAllowed("workers") { try $0.examineDeliveries() }
        }
        return diagnosis.findings
    }

    /// What the role may not see becomes a finding; nil then.
    @discardableResult
    private mutating func ifAllowed<T>(_ subject: String, _ examine: (inout Diagnosis) throws -> T) throws -> T? {
        do {
            return try examine(&self)
        } catch let error as PostgresError where .insufficientPrivilege ~= error {
            note(
                .warn, subject, "not examined: \(error.message)",
                "log in as a worker does, or: grant outrider_worker to \(connection.user);")
            return nil
        }
    }

    private init(connection: Connection) {
        self.connection = connection
    }

    private mutating func note(_ verdict: Verdict, _ subject: String, _ found: String, _ remedy: String? = nil) {
        findings.append(
            Finding(verdict: verdict, subject: subject, found: found, remedy: verdict == .ok ? nil : remedy))
    }

    // MARK: - Server

    private mutating func examineServer() throws {
        let encryption = connection.isEncrypted ? "TLS" : "no TLS"
        note(.ok, "connection", "\(connection.user)@\(connection.host)/\(connection.database), \(encryption)")
        let began = ContinuousClock.now
        let rows = try connection.query("select clock_timestamp(), current_setting('server_version')")
        let took = ContinuousClock.now - began
        let (server, here) = (try rows[0].decode(0, as: Timestamp.self), Timestamp.now())
        note(
            .ok, "server",
            "PostgreSQL \(try rows[0].decode(1, as: String.self)), a round trip takes \(took.milliseconds) ms")
        let difference = abs((here - server).seconds)
        note(
            difference > 2 ? .warn : .ok, "clock", "this machine's differs by \(Int(difference * 1000)) ms",
            "Outrider takes the database's time for every decision; logs and lag metrics are off by this. Check NTP on both."
        )
        if let reason = try WorkerRegistry(connection).unsuitability() {
            note(.fail, "worker", reason, "give the worker another connection string")
        }
    }

    private mutating func examineSettings() throws {
        let names = [
            "fsync", "synchronous_commit", "autovacuum", "track_counts", "max_connections",
            "idle_in_transaction_session_timeout",
            "statement_timeout",
        ]
        let rows = try connection.query(
            "select name, setting from pg_settings where name = any (\(names))")
        var settings: [String: String] = [:]
        for row in rows { settings[try row.decode(0, as: String.self)] = try row.decode(1, as: String.self) }
        func check(_ name: String, _ bad: (String) -> Bool, _ verdict: Verdict, _ remedy: String) {
            let value = settings[name] ?? "unknown"
            note(bad(value) ? verdict : .ok, "setting", "\(name) = \(value)", remedy)
        }
        check("fsync", { $0 == "off" }, .fail, "a crash of the machine loses messages: turn it on")
        check(
            "synchronous_commit", { $0 == "off" }, .warn,
            "a crash loses the last commits, acknowledgements among them: on")
        check("autovacuum", { $0 == "off" }, .fail, "the queue fills with dead rows: turn it on")
        check("track_counts", { $0 == "off" }, .fail, "autovacuum does nothing without it: turn it on")
        check(
            "max_connections", { (Int($0) ?? 0) < 20 }, .warn, "each worker takes three, your services theirs: raise it"
        )
        check(
            "idle_in_transaction_session_timeout", { $0 == "0" }, .warn,
            "a forgotten transaction holds vacuum up for everybody: set it to some minutes")
        check(
            "statement_timeout", { (Int($0) ?? 0) != 0 && (Int($0) ?? 0) < 10_000 }, .warn,
            "raise it for the worker's role")
    }

    private mutating func examineTransactions(olderThan limit: Duration) throws {
        let rows = try connection.query(
            """
            select count(*), coalesce(max(extract(epoch from now() - xact_start)), 0)::bigint,
                coalesce(string_agg(format('%s (%s)', pid, coalesce(nullif(application_name, ''), usename)), ', '), ''),
                pg_has_role('pg_read_all_stats', 'usage'), current_user
            from pg_stat_activity
            where backend_type = 'client backend' and pid <> pg_backend_pid() and xact_start < now() - \(limit)
                and datname = current_database()
            """)
        let count = try rows[0].decode(0, as: Int64.self)
        note(
            count == 0 ? .ok : .warn, "transactions",
            count == 0
                ? "none is older than \(limit.text)"
                : "\(count) older than \(limit.text), the oldest \(try rows[0].decode(1, as: Int64.self)) s: pid \(try rows[0].decode(2, as: String.self))",
            "they hold vacuum up; find out what they wait for, or select pg_terminate_backend(pid)")
        if try !rows[0].decode(3, as: Bool.self) {
            let role = try rows[0].decode(4, as: String.self)
            note(
                .warn, "transactions", "those of other users are hidden from \(role)",
                "as an administrator: grant pg_read_all_stats to \(role);")
        }
        let held = try connection.query(
            """
            select (select count(*) from pg_prepared_xacts where prepared < now() - \(limit))
                + (select count(*) from pg_replication_slots where not active and coalesce(xmin, catalog_xmin) is not null)
            """)[0].decode(0, as: Int64.self)
        note(
            held == 0 ? .ok : .warn, "old snapshots",
            "\(held) prepared transactions or idle replication slots hold vacuum up",
            "see pg_prepared_xacts and pg_replication_slots")
    }

    // MARK: - Schema

    private mutating func examineSchema() throws -> Bool {
        if let mismatch = try Migrator().mismatch(on: connection) {
            note(.fail, "schema", mismatch, "outrider migrate")
            return false
        }
        note(.ok, "schema", "version \(try Migrator().status(on: connection).applied.last?.version ?? 0)")
        return true
    }

    private mutating func examinePrivileges() throws {
        let rows = try connection.query(
            """
            select current_user, has_table_privilege('outrider.delivery', 'insert, update, delete')
                and has_table_privilege('outrider.worker', 'insert')
            """)
        let role = try rows[0].decode(0, as: String.self)
        note(
            try rows[0].decode(1, as: Bool.self) ? .ok : .fail, "privileges", "\(role) as a worker",
            "grant outrider_worker to \(role);")
    }

    private mutating func examineTables() throws {
        let rows = try connection.query(
            """
            select relname, n_dead_tup, pg_total_relation_size(relid), coalesce(last_autovacuum, last_vacuum)::text
            from pg_stat_user_tables where schemaname = 'outrider' and relname in ('delivery', 'scheduled')
            order by relname
            """)
        for row in rows {
            let dead = try row.decode(1, as: Int64.self)
            let vacuumed = try row.decode(3, as: String?.self) ?? "never"
            note(
                dead > 1_000_000 ? .warn : .ok, "table",
                "outrider.\(try row.decode(0, as: String.self)): \(dead) dead rows, \(try row.decode(2, as: Int64.self) >> 20) MB, vacuumed \(vacuumed)",
                "something holds vacuum up (see transactions), or autovacuum is too slow")
        }
        let partitions = try connection.query(
            """
            select count(*) filter (where upper_at > now()), count(*), (select count(*) from (select from outrider.outbox_default limit 100000) d)
            from outrider.outbox_partition
            """)
        let ahead = try partitions[0].decode(0, as: Int64.self)
        note(
            ahead < 2 ? .warn : .ok, "partitions",
            "\(ahead) for today and later of \(try partitions[0].decode(1, as: Int64.self)), \(try partitions[0].decode(2, as: Int64.self)) rows in the default one",
            "a running worker makes them; messages go to the default partition meanwhile, which is safe")
    }

    // MARK: - Deliveries

    private mutating func examineDeliveries() throws {
        let workers = try connection.query("select count(*) from outrider.workers where connected")[0].decode(
            0, as: Int64.self)
        note(workers == 0 ? .warn : .ok, "workers", "\(workers) connected", "start one: outrider run")
        let subscriptions = try connection.query(
            """
            select s.name, s.paused_at is not null, cardinality(s.workers) = 0, q.ready, q.dead,
                coalesce(extract(epoch from q.oldest_age), 0)::bigint
            from outrider.subscriptions s join outrider.queue_depth q on q.subscription = s.name order by s.name
            """)
        for row in subscriptions {
            let name = try row.decode(0, as: String.self)
            let (paused, unserved) = (try row.decode(1, as: Bool.self), try row.decode(2, as: Bool.self))
            let (ready, dead) = (try row.decode(3, as: Int64.self), try row.decode(4, as: Int64.self))
            let oldest = try row.decode(5, as: Int64.self)
            var remedies: [String] = []
            if paused { remedies.append("paused: outrider subscription resume \(name)") }
            if unserved { remedies.append("no worker serves it: does its folder or its secrets lack something?") }
            if dead > 0 { remedies.append("outrider dead-letters list --subscription \(name)") }
            if oldest > 300 {
                remedies.append("its oldest message waits for \(oldest) s: is its handler slow or down?")
            }
            note(
                remedies.isEmpty ? .ok : .warn, "subscription",
                "\(name): \(ready) ready, \(dead) dead, oldest \(oldest) s",
                remedies.joined(separator: "; "))
        }
    }
}
