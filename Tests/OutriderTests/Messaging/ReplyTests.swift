import HTTPServer
import Postgres
import Primitives
import Synchronization
import TestSupport
import Testing

/// Messages that ask to be answered.
struct ReplyTests {
    /// A subscription that hears the answers.
    private static func answers(_ options: String = "") -> String {
        """

        ---
        subscription: answers
        topics: [ order.answers ]
        deliver: { http: "POST ${ $env.SHOP }/answers" }
        \(options)
        """
    }

    private static let ask: SQL = """
        select outrider.publish('order.created', '{"n": 7}', key => 'k-7',
            headers => '{"reply_to": "order.answers", "correlation_id": "c-1", "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"}')
        """

    private func replies(_ scene: Scene) async throws -> [JSON] {
        try await scene.database.run { connection in
            try connection.query(
                """
                select jsonb_build_object('key', key, 'payload', payload, 'headers', headers)
                from outrider.messages where topic = 'order.answers' order by published_at
                """
            ).map { try $0.decode(0, as: JSON.self) }
        }
    }

    @Test(arguments: ["", "ordered: true"])
    func theHandlersAnswerIsPublishedWithTheCorrelation(options: String) async throws {
        let handler = HandlerServer.Behaviour.decides { _ in .json(["total": 42]) }
        try await Scene.with(workflows: Scene.mail() + Self.answers(options), handler: handler) { scene in
            let worker = try await scene.worker()
            let id: UUID = try await scene.database.value(Self.ask)
            try await scene.handler.wait(for: 1, at: "/answers")
            let answer = scene.handler.received(at: "/answers")[0]
            #expect(answer.body == #"{"total": 42}"#)
            #expect(answer.header("correlation_id") == "c-1")
            #expect(answer.header("in_reply_to") == "\(id)")
            #expect(answer.header("reply_to") == nil)
            #expect(answer.header("ce-subject") == "k-7")
            #expect(answer.header("traceparent")?.hasPrefix("00-0af7651916cd43dd8448eb211c80319c-") == true)
            // Who asks for nothing gets nothing.
            try await scene.publish(3)
            try await scene.waitUntilDelivered()
            #expect(try await replies(scene).count == 1)
            _ = worker
        }
    }

    @Test func anAnswerThatIsNoJSONIsNull() async throws {
        try await Scene.with(options: "audit: all") { scene in
            let worker = try await scene.worker()
            try await scene.database.query(Self.ask)
            try await scene.waitUntilDelivered()
            let replies = try await self.replies(scene)
            #expect(replies.map { $0["payload"] } == [.some(.null)])
            #expect(
                try await scene.database.count(
                    "select count(*) from outrider.delivery_attempts where outcome = 'succeeded'") == 1)
            _ = worker
        }
    }

    @Test func onlyTheTryThatSucceedsIsAnswered() async throws {
        let tries = Atomic(0)
        let handler = HandlerServer.Behaviour.decides { _ in
            let number = tries.add(1, ordering: .relaxed).newValue
            return .json(["try": JSON(number)], status: number < 3 ? 503 : 200)
        }
        try await Scene.with(options: "retry: { attempts: 3, initial: 10ms }", handler: handler) { scene in
            let worker = try await scene.worker()
            try await scene.database.query(Self.ask)
            try await scene.waitUntilDelivered()
            #expect(try await replies(scene).map { $0["payload"] } == [["try": 3]])
            _ = worker
        }
    }

    @Test func whatNobodyDoesIsNotAnswered() async throws {
        try await Scene.with(handler: .answers(.json(["no": true], status: 422))) { scene in
            let worker = try await scene.worker()
            try await scene.database.query(Self.ask)
            try await eventually("there is a letter") { try await scene.deadLetters() == 1 }
            #expect(try await replies(scene).isEmpty)
            _ = worker
        }
    }

    @Test func aTopicThatIsNoneIsFoundOutBeforeAnythingIsSent() async throws {
        try await Scene.with { scene in
            let worker = try await scene.worker()
            try await scene.database.query(
                "select outrider.publish('order.created', '1', headers => '{\"reply_to\": \"Order Answers\"}')")
            try await eventually("there is a letter") { try await scene.deadLetters() == 1 }
            let letter: String = try await scene.database.value(
                "select concat_ws(' ', reason, last_error) from outrider.dead_letters")
            #expect(letter == #"reply the header reply_to is "Order Answers", which is no name of a topic"#)
            #expect(scene.handler.count() == 0)
            _ = worker
        }
    }

    /// As a topic that is full refuses it.
    @Test func anAnswerThatTheLogRefusesIsALetterAndTheWorkerGoesOn() async throws {
        try await Scene.with(handler: .answers(.json(["total": 42]))) { scene in
            try await scene.database.execute(
                """
                create function refuse() returns trigger language plpgsql as
                    $$ begin raise exception 'topic % is full', new.topic using errcode = 'OR001'; end $$;
                create trigger refuse before insert on outrider.outbox for each row
                    when (new.topic = 'order.answers') execute function refuse();
                """)
            let worker = try await scene.worker()
            try await scene.database.query(Self.ask)
            try await scene.publish(5)
            try await eventually("there is a letter") { try await scene.deadLetters() == 1 }
            try await scene.waitUntilDelivered()
            let letter: String = try await scene.database.value(
                "select concat_ws(' ', reason, last_error, payload ->> 'n') from outrider.dead_letters")
            #expect(letter == "reply topic order.answers is full 7")
            // Once there is room the handler is asked again, and its answer is published.
            try await scene.database.execute(
                "drop trigger refuse on outrider.outbox; select outrider.redrive(id) from outrider.dead_letters")
            try await eventually("it is answered") { try await replies(scene).count == 1 }
            #expect(!worker.log.contains("database.lost"))
        }
    }

    @Test func eachMessageOfABatchIsAnswered() async throws {
        let handler = HandlerServer.Behaviour.decides { received in
            let results = (received.events ?? []).map { event -> JSON in
                let n = event["data"]?["n"] ?? .null
                let id = event["id"] ?? .null
                switch n {
                case 1: return ["id": id, "result": "succeeded", "reply": ["n": n]]
                case 2: return ["id": id, "result": "succeeded"]
                default: return ["id": id, "result": "failed", "reply": ["n": n]]
                }
            }
            return .json(["results": .array(results)])
        }
        try await Scene.with(options: "batch: { max: 10 }", handler: handler) { scene in
            let worker = try await scene.worker()
            try await scene.database.query(
                """
                insert into outrider.outbox (topic, payload, headers)
                select 'order.created', jsonb_build_object('n', n), '{"reply_to": "order.answers"}' from generate_series(1, 3) n
                """)
            try await scene.waitUntilDelivered()
            #expect(Set(try await replies(scene).map { $0["payload"] }) == [["n": 1], .some(.null)])
            #expect(try await scene.deadLetters() == 1)
            _ = worker
        }
    }

    @Test func aStatementsRowIsTheAnswerInItsTransaction() async throws {
        let workflow = StatementTargetTests.book(
            sql: "insert into shop.ledger (message, n) values ($1, $2) returning id, n")
        try await Scene.with(workflows: workflow) { scene in
            try await scene.database.execute(StatementTargetTests.ledger)
            let worker = try await scene.worker()
            try await scene.database.query(Self.ask)
            try await scene.waitUntilDelivered()
            #expect(try await replies(scene).map { $0["payload"] } == [["n": 7, "id": 1]])
            _ = worker
        }
    }

    @Test func atMostOnceTheAnswerIsPublishedAsWell() async throws {
        try await Scene.with(options: "delivery: at-most-once", handler: .answers(.json(["total": 42]))) { scene in
            let worker = try await scene.worker()
            try await scene.database.query(Self.ask)
            try await eventually("it is answered") { try await replies(scene).count == 1 }
            _ = worker
        }
    }

    @Test func thereIsOneAnswerToEachMessageThoughWorkersAreKilled() async throws {
        let handler = HandlerServer.Behaviour.decides { received in
            (try? JSON(parsing: received.request.body)).map { .json($0) } ?? .text("?")
        }
        try await Scene.with(options: "retry: { attempts: forever, initial: 10ms }", handler: handler) { scene in
            var worker = try await scene.worker()
            for round in 1...4 {
                try await scene.database.query(
                    """
                    insert into outrider.outbox (topic, payload, headers)
                    select 'order.created', jsonb_build_object('n', n + \(Int32(round * 1000))), '{"reply_to": "order.answers"}'
                    from generate_series(1, 300) n
                    """)
                try await scene.handler.wait(for: round * 200)
                worker.kill9()
                worker = try await scene.worker()
            }
            try await scene.waitUntilDelivered()
            #expect(
                try await scene.database.count("select count(*) from outrider.messages where topic = 'order.answers'")
                    == 1200)
            #expect(
                try await scene.database.count(
                    "select count(distinct headers ->> 'in_reply_to') from outrider.messages where topic = 'order.answers'"
                )
                    == 1200)
            _ = worker
        }
    }
}
