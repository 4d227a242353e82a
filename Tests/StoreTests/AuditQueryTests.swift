import EmbeddedPostgres
import Postgres
import Primitives
import Store
import TestSupport
import Testing

/// The queries of `Migrations/README.md` answer what their headings ask, to somebody who may only read the views.
struct AuditQueryTests {
    struct Question: Sendable {
        let title: String
        let query: String
    }

    /// What a question's answer must have: a row with these members, and no more rows than `most`.
    struct Answer {
        var row: [String: JSON]
        var columns: [String]
        var most = Int.max
    }

    @Test func everyQuestionIsAnswered() async throws {
        let questions = try Self.questions()
        #expect(questions.count >= 40)
        try await TestDatabase.with { database in
            let incident = try await Incident.happen(on: database)
            let answers = Self.answers(incident).merging(incident.sagas.answers) { first, _ in first }
            #expect(Set(questions.map(\.title)) == Set(answers.keys))
            for question in questions {
                guard let answer = answers[question.title] else { continue }
                let query = incident.bind(question.query)
                let rows = try await incident.auditor.run { connection in
                    try connection.query("select to_jsonb(r) from (\(unsafeSQL: query)) r").map {
                        try $0.decode(0, as: JSON.self)
                    }
                }
                #expect(
                    rows.contains { row in answer.row.allSatisfy { row[$0.key] == $0.value } },
                    "\(question.title)\n\(rows)")
                #expect(rows.count <= answer.most, "\(question.title)\n\(rows)")
                for column in answer.columns {
                    #expect(rows.contains { $0[column]?.isNull == false }, "\(question.title) \(column)\n\(rows)")
                }
            }
            await incident.end()
        }
    }

    // MARK: - Answers

    private static func answers(_ incident: Incident) -> [String: Answer] {
        [
            "What is waiting, and for how long?": Answer(
                row: ["subscription": "mail", "ready": 2, "in_flight": 1, "dead": 2], columns: ["oldest_age"], most: 4),
            "Which topics are full, and since when?": Answer(
                row: ["topic": "order.limited", "max_backlog": 2, "deepest_subscription": "archive", "dropped": 4],
                columns: ["backlog", "full_for"], most: 1),
            "What was dropped, and for which limit?": Answer(
                row: ["topic": "order.limited", "subscription": "archive", "reason": "drop_newest", "count": 4],
                columns: ["last_at", "ago"], most: 1),
            "What failed in the last hour, and why?": Answer(
                row: ["subscription": "mail", "status": 503, "error": "HTTP 503: Busy", "tries": 6, "messages": 3],
                columns: ["last_at"]),
            "Which handler fails most?": Answer(
                row: ["subscription": "bill", "failed_tries": 1, "without_answer": 1], columns: [], most: 3),
            "Which handlers are slowest?": Answer(
                row: ["subscription": "mail", "median": "00:00:00.2", "p95": "00:00:03"], columns: ["longest"]),
            "What were the last tries of a subscription?": Answer(
                row: ["attempt": 2, "outcome": "failed", "status": 503, "duration": "00:00:03", "worker": "alive"],
                columns: ["at", "message_id", "error"], most: 7),
            "What happened to a message?": Answer(
                row: ["event": "redriven", "subscription": "mail", "detail": "by \(incident.person)"],
                columns: ["at"], most: 7),
            "Which messages of a key are still to be delivered?": Answer(
                row: ["subscription": "mail", "state": "ready", "attempt": 0], columns: ["message_id"], most: 2),
            "Which keys are blocked, and by what?": Answer(
                row: [
                    "subscription": "ledger", "key": "account-7", "blocked": 2,
                    "waits_for": "scheduled, try 1, HTTP 503: Closed",
                ], columns: ["since"], most: 1),
            "What was published under a key?": Answer(
                row: ["topic": "order.created", "payload": ["n": 17]], columns: ["id", "published_at"], most: 1),
            "Which messages are undelivered for more than an hour?": Answer(
                row: ["subscription": "mail", "key": "customer-42", "state": "ready"], columns: ["age"], most: 2),
            "Why did messages die?": Answer(
                row: ["subscription": "mail", "reason": "refused", "last_error": "HTTP 422", "letters": 2],
                columns: ["first_at"], most: 2),
            "Who redrove what, and did it help?": Answer(
                row: ["redriven_by": JSON(incident.person), "subscription": "mail", "outcome": "on its way"],
                columns: ["message_id", "reason"], most: 2),
            "Which letters died again?": Answer(
                row: ["subscription": "archive", "redrives": 1, "reason": "refused"],
                columns: ["first_letter", "last_letter"], most: 1),
            "Who discarded what, and why?": Answer(
                row: ["discarded_by": JSON(incident.person), "discard_reason": "a test order"], columns: ["topic"],
                most: 1),
            "What was cancelled, and by whom?": Answer(
                row: ["cancelled_by": JSON(incident.person), "key": "unwanted"], columns: ["cancelled_at"], most: 1),
            "What did a worker have when it was lost?": Answer(
                row: ["subscription": "mail", "attempt": 1, "state_now": "ready"], columns: ["message_id"], most: 1),
            "Which workers are there, and what do they do?": Answer(
                row: ["name": "alive", "connected": true, "draining": false, "subscriptions": ["mail"]],
                columns: ["silent_for", "up_for"], most: 1),
            "Would more workers help?": Answer(
                row: ["subscription": "bill", "verdict": "no: nothing waits", "concurrency": 64],
                columns: ["depth", "oldest_age", "utilisation"], most: 4),
            "Which subscriptions does no worker serve?": Answer(
                row: ["name": "bill"], columns: ["topics"], most: 3),
            "Which subscriptions are paused, and by whom?": Answer(
                row: ["name": "archive", "paused_by": JSON(incident.person), "waiting": 10], columns: ["paused_for"],
                most: 1),
            "Which endpoints are kept from requests, and why?": Answer(
                row: ["name": "payments", "breaker": "open", "failures": 20, "last_error": "HTTP 503"],
                columns: ["opened_at", "retry_at"], most: 1),
            "Who may send how much?": Answer(
                row: [
                    "kind": "subscription", "name": "mail", "limits": "concurrency", "worker": "alive", "granted": 1,
                    "amount": 1,
                ], columns: [], most: 1),
            "Which subscriptions use all that they may?": Answer(
                row: ["subscription": "mail", "in_flight": 1, "ready": 2, "concurrency": 1], columns: [], most: 1),
            "Is housekeeping alive?": Answer(
                row: [
                    "application_name": "outrider alive housekeeping",
                    "newest_partition": JSON(Partition.name(daysAgo: -7)),
                ], columns: ["pid"], most: 1),
            "What is scheduled next?": Answer(
                row: ["subscription": "bill", "attempt": 1, "last_error": "connection refused"], columns: ["due_in"],
                most: 2),
            "Which schedules fire next, and which are late?": Answer(
                row: ["name": "nightly", "cron": "0 0 1 1 *", "does": "publish nightly.due", "workers": 0],
                columns: ["next_at", "due_in"], most: 1),
            "Which schedules fired in the last day, and what came of it?": Answer(
                row: ["schedule": "nightly", "error": "expression: no"], columns: ["scheduled_at", "late_by"], most: 1),
            "Is the backlog growing?": Answer(row: [:], columns: ["at", "messages", "undelivered"]),
            "How many retries were there, hour by hour?": Answer(
                row: ["subscription": "mail", "retries": 3, "failed": 3], columns: ["hour"]),
            "Which transactions hold vacuum up?": Answer(
                row: ["application_name": "report", "state": "idle in transaction"], columns: ["open_for"]),
            "How large is the log, day by day?": Answer(
                row: ["partition": JSON(Partition.name(daysAgo: -7))], columns: ["size"], most: 9),
            "Which topics fill the log?": Answer(row: ["topic": "order.paid", "messages": 1], columns: ["payloads"]),
            "How far are the operations?": Answer(
                row: [
                    "kind": "replay", "subscription": "mail", "status": "waiting", "created_by": JSON(incident.person),
                ],
                columns: ["from_time"], most: 1),
            "What was changed in the workflow files, when and by whom?": Answer(
                row: ["applied_by": "postgres (anna)", "name": "bill", "state": "in force"],
                columns: ["hash", "applied_at"]),
            "Which migrations ran, and who ran them?": Answer(
                row: ["version": 1, "direction": "up", "name": "outbox", "by": "postgres"], columns: ["at"]),
        ]
    }

    // MARK: - The README

    /// Each `###` heading of the last section with the query below it.
    static func questions() throws -> [Question] {
        let text = try #require(Files.text(repository + "/Migrations/README.md"))
        let section = try #require(text.split(separator: "\n## Questions on call\n").last)
        return try section.split(separator: "\n### ").dropFirst().map { part in
            let lines = part.split(separator: "\n", omittingEmptySubsequences: false)
            let start = try #require(lines.firstIndex(of: "```sql"), "\(lines[0]) has no query")
            let end = try #require(lines[start...].firstIndex(of: "```"))
            return Question(
                title: String(lines[0]), query: lines[(start + 1)..<end].joined(separator: "\n"))
        }
    }

    private static let repository: String = {
        var parts = #filePath.split(separator: "/", omittingEmptySubsequences: false)
        parts.removeLast(3)
        return parts.joined(separator: "/")
    }()
}

/// A bad morning: four subscriptions, with something of everything that a person on call is asked about.
private struct Incident: Sendable {
    let auditor: Session
    let housekeeper: Session
    let report: Session
    /// The login of an operator.
    let person: String
    /// A message that died, and was redriven.
    let message: UUID
    let sagas: SagaIncident

    static func happen(on database: TestDatabase) async throws -> Incident {
        try await database.subscribe("mail", to: "order.created")
        try await database.subscribe("archive", to: "#")
        try await database.subscribe("bill", to: "order.paid")
        try await database.apply(
            [
                "subscription": "bill", "topics": ["order.paid"], "timeout": "5s",
                "deliver": ["http": "POST http://127.0.0.1:9/bill"],
            ], by: "anna")

        try await database.schedule("nightly")
        _ = try await database.fire("nightly", failing: "expression: no")
        let housekeeper = try await housekeeper(on: database)
        let person = try await database.login(memberOf: "outrider_operator")
        let message = try await fail(on: database, by: person)
        try await lose(on: database)
        try await block(on: database)
        try await overflow(on: database)
        try await limit(on: database)

        let sagas = try await SagaIncident.happen(on: database, person: person)

        let auditor = try await database.login(memberOf: "outrider_auditor")
        let login = "\(database.name)_outrider_auditor"
        let report = Session(database.url.replacing("postgres@", with: "\(login)@"))
        try await report.execute("set application_name = 'report'; begin; select count(*) from outrider.messages")
        return Incident(
            auditor: auditor, housekeeper: housekeeper, report: report,
            person: "\(database.name)_outrider_operator", message: message, sagas: sagas)
    }

    func end() async {
        for session in [auditor, housekeeper, report] { await session.close() }
    }

    /// As psql does with variables.
    func bind(_ query: String) -> String {
        var query = query
        for (name, value) in [
            ("message", "\(message)"), ("key", "customer-42"), ("worker", "lost"), ("subscription", "mail"),
            ("saga", "place-order"), ("saga_id", "\(sagas.family)"),
        ] {
            query = query.replacing(":'\(name)'", with: "'\(value)'")
        }
        while query.last == ";" || query.last == "\n" { query.removeLast() }
        return query
    }

    /// A worker that lives, serves `mail` and keeps house.
    private static func housekeeper(on database: TestDatabase) async throws -> Session {
        var options = ConnectionOptions()
        options.applicationName = "outrider alive housekeeping"
        let session = Session(database.url, options: options)
        let token = UUID.random()
        try await session.run { connection in
            try WorkerRegistry(connection).register(token: token, name: "alive", version: "1", lease: .seconds(30))
            let mail = try connection.query("select id from outrider.subscription where name = 'mail'")[0].decode(
                0, as: Int32.self)
            _ = try Housekeeping(connection).beat(
                Housekeeping.Vitals(
                    token: token, connectedFor: .seconds(1), inFlight: 1, isDraining: false, leads: false,
                    sweeps: false, floors: [(mail, 0)]))
            try connection.execute(script: "update outrider.worker set subscriptions = array[\(mail)]")
        }
        return session
    }

    /// Failures, dead letters and what a person did about them. Returns the message that was redriven.
    private static func fail(on database: TestDatabase, by person: Session) async throws -> UUID {
        let letters = [
            try await database.deadLetter(of: "mail"), try await database.deadLetter(of: "mail"),
            try await database.deadLetter(of: "mail"), try await database.deadLetter(of: "mail"),
        ]
        try await database.execute(
            """
            insert into outrider.delivery_attempt (message_id, subscription_id, attempt, at, outcome, status, duration, error, worker)
            select d.message_id, d.subscription_id, n, now() - interval '1 minute' * (4 - n), 'failed', 503,
                case when n = 2 then interval '3 s' else interval '0.2 s' end, 'HTTP 503: Busy', 'alive'
            from (select * from outrider.dead_letter order by id limit 3) d, generate_series(1, 2) n;
            update outrider.dead_letter set reason = 'refused', last_error = 'HTTP 422' where id > '\(letters[1])';
            """)
        try await person.execute(
            """
            select outrider.redrive('\(letters[0])'), outrider.discard('\(letters[1])', 'a test order')
            """)
        let unwanted = try await database.publish(key: "unwanted")
        try await person.execute(
            """
            select outrider.cancel_message('\(unwanted)'), outrider.pause('archive'),
                outrider.replay('mail', now() - interval '1 hour', now())
            """)
        // One that dies again after its redrive.
        let again = try await database.deadLetter(of: "archive", topic: "return.sent")
        try await person.execute("select outrider.redrive('\(again)')")
        try await database.execute(
            """
            with gone as (delete from outrider.delivery d using outrider.subscription s
                where s.id = d.subscription_id and s.name = 'archive' and d.redriven returning d.*)
            select outrider.bury(g.subscription_id, g.message_id, 1, now(), 'refused', 'HTTP 422') from gone g
            """)
        // One that fails without an answer, and waits for its retry.
        try await database.publish("order.paid")
        try await database.execute(
            """
            with gone as (
                delete from outrider.delivery d using outrider.subscription s
                where s.id = d.subscription_id and s.name = 'bill' returning d.*
            ), tried as (
                insert into outrider.delivery_attempt (message_id, subscription_id, attempt, at, outcome, error, worker)
                select g.message_id, g.subscription_id, 1, now(), 'failed', 'connection refused', 'alive' from gone g
            )
            insert into outrider.scheduled (due_at, subscription_id, attempts, message_id, first_tried_at)
            select now() + interval '10 s', g.subscription_id, 1, g.message_id, now() from gone g
            """)
        return try await database.value("select message_id from outrider.dead_letters where id = \(letters[0])")
    }

    /// An ordered subscription of which one message fails, and two wait behind it.
    private static func block(on database: TestDatabase) async throws {
        try await database.apply([
            "subscription": "ledger", "topics": ["account.moved"], "ordered": true,
            "deliver": ["http": "POST http://127.0.0.1:9/ledger"],
        ])
        for _ in 1...3 { try await database.publish("account.moved", key: "account-7") }
        try await database.execute(
            """
            with gone as (delete from outrider.delivery d where d.place is not null returning d.*), tried as (
                insert into outrider.delivery_attempt
                    (message_id, subscription_id, attempt, at, outcome, status, error, worker)
                select g.message_id, g.subscription_id, 1, now() - interval '2 hours', 'failed', 503, 'HTTP 503: Closed', 'alive'
                from gone g
            )
            insert into outrider.scheduled (due_at, subscription_id, attempts, message_id, first_tried_at, key, place)
            select now() + interval '1 hour', g.subscription_id, 1, g.message_id, now(), g.key, g.place from gone g
            """)
    }

    /// A topic whose subscription has more than it may have.
    private static func overflow(on database: TestDatabase) async throws {
        try await database.apply(["topic": "order.limited", "max_backlog": 2, "overflow": "drop_newest"])
        try await database.run { _ = try Housekeeping($0).tendGates(most: 100) }
        try await database.publish(4, topic: "order.limited")
    }

    /// An endpoint that does not answer, and a subscription that sends all that it may.
    private static func limit(on database: TestDatabase) async throws {
        try await database.apply(["endpoint": "payments", "url": "https://payments.example", "breaker": [:]])
        try await database.execute(
            """
            insert into outrider.breaker (endpoint, retry_at, failures, last_error, opened_by)
            values ('payments', now() + interval '10 s', 20, 'HTTP 503', 'alive');
            insert into outrider.limit_share (name, worker, amount, granted, need)
            select 'subscription:mail:concurrency', w.token, 1, 1, 1 from outrider.worker w where w.name = 'alive'
            """)
    }

    /// A worker that was lost, one that has something in flight, and a message that waits since yesterday.
    private static func lose(on database: TestDatabase) async throws {
        let lost = UUID.random()
        try await database.query("select outrider.publish('order.created', '{\"n\": 17}', key => 'customer-42')")
        try await database.execute(
            """
            update outrider.outbox set published_at = now() - interval '3 hours' where key = 'customer-42';
            insert into outrider.worker (token, name, version, lease) values ('\(lost)', 'lost', '1', '30 s');
            update outrider.delivery d set owner = '\(lost)' from outrider.messages m, outrider.subscription s
            where m.id = d.message_id and m.key = 'customer-42' and s.id = d.subscription_id and s.name = 'mail';
            select outrider.rescue('\(lost)');
            """)
        try await database.publish(key: "sending")
        try await database.execute(
            """
            update outrider.delivery d set owner = w.token from outrider.worker w, outrider.messages m, outrider.subscription s
            where m.id = d.message_id and m.key = 'sending' and s.id = d.subscription_id and s.name = 'mail'
            """)
    }
}
