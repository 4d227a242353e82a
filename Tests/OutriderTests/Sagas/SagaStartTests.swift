import EmbeddedPostgres
import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// How sagas come to be: keys, versions, messages that start them, what they begin with and end with (cases 16 to 18).
struct SagaStartTests {
    static let keyed = """
        saga: keyed
        version: 1
        key: "order-${ .input.id }"
        steps:
          - id: call
            call: { http: POST /call, endpoint: shop }
        """

    @Test func ofConcurrentStartsWithOneKeyOneWins() async throws {
        try await Scene.playing(Self.keyed) { scene in
            let worker = try await scene.worker()
            let ids = try await withThrowingTaskGroup(of: UUID?.self) { group in
                for n in 0..<50 {
                    group.addTask {
                        let session = Session(scene.database.url)
                        let input = #"{"id": 5, "n": \#(n % 5)}"#
                        let id: UUID?
                        do {
                            id = try await session.run { connection in
                                try connection.query("select outrider.start_saga('keyed', \(input)::jsonb)")[0]
                                    .decode(0, as: UUID.self)
                            }
                        } catch let error as PostgresError where error.sqlState?.rawValue == "OR004" {
                            id = nil
                        }
                        await session.close()
                        return id
                    }
                }
                return try await group.reduce(into: [UUID?]()) { $0.append($1) }
            }
            #expect(ids.count { $0 == nil } == 40)
            #expect(Set(ids.compactMap(\.self)).count == 1)
            let id = try #require(ids.compactMap(\.self).first)
            try await scene.wait(for: id, "completed")
            #expect(scene.calls.count == 1)
            // Whatever its status: the key stays taken.
            let input: String = try await scene.database.value("select input::text from outrider.sagas")
            #expect(try await scene.start("keyed", input) == id)
            _ = worker
        }
    }

    @Test func aKeyThatMayBeReusedIsFreeOnceTheSagaHasEnded() async throws {
        let saga = Self.keyed.replacing("version: 1", with: "version: 1\nreuse_key: true")
        try await Scene.playing(saga, Script(["/call": [.nothing, .status(200)]])) { scene in
            let worker = try await scene.worker()
            let first = try await scene.start("keyed", #"{"id": 5}"#)
            try await scene.handler.wait(for: 1)
            #expect(try await scene.start("keyed", #"{"id": 5}"#) == first)
            await #expect(throws: PostgresError.self) { _ = try await scene.start("keyed", #"{"id": 5, "x": 1}"#) }
            scene.handler.answerHeld()
            try await scene.wait(for: first, "completed")
            let second = try await scene.play("keyed", #"{"id": 5, "x": 1}"#, to: "completed")
            #expect(second != first)
            _ = worker
        }
    }

    static let onOrder = """
        saga: welcome
        version: 1
        key: ${ .input.customer }
        start_on: customer.created
        input:
          schema: { type: object, required: [customer], properties: { customer: { type: string }, age: { type: integer } } }
        steps:
          - id: hello
            call: { http: POST /hello, endpoint: shop, body: "${ .input.customer }" }
        output: { greeted: "${ .input.customer }" }
        on_completed:
          publish: { topic: welcomed, key: "${ .saga.key }", payload: "${ .saga }", headers: { x-by: "${ .saga.name }" } }
        on_failed:
          publish: { topic: unwelcome, payload: "${ .failure }" }
        """

    @Test func aMessageStartsASagaAndOneThatCannotIsADeadLetter() async throws {
        try await Scene.playing(Self.onOrder) { scene in
            let worker = try await scene.worker()
            for payload in [
                #"{"customer": "Ann"}"#, #"{"name": "?"}"#, #"{"customer": "Ann"}"#, #"{"customer": "Ann", "age": 3}"#,
                #"{"customer": "Bo", "age": "x"}"#,
            ] {
                try await scene.act("select outrider.publish('customer.created', \(payload)::jsonb)")
            }
            try await eventually("all have come to something") {
                let ended = try await scene.database.count(
                    "select count(*) from outrider.sagas where finished_at is not null")
                let dead = try await scene.deadLetters()
                return ended == 2 && dead == 2
            }
            #expect(scene.handler.received.map(\.body) == [#""Ann""#])
            let reasons: String = try await scene.database.value(
                "select string_agg(reason || ' ' || subscription, ', ') from outrider.dead_letters")
            #expect(reasons == "not-started saga:welcome, not-started saga:welcome")
            let status: String = try await scene.database.value(
                "select string_agg(key || ' ' || status, ', ' order by key) from outrider.sagas")
            #expect(status == "Ann completed, Bo failed")
            let published: String = try await scene.database.value(
                "select string_agg(concat_ws(' ', topic, key, payload ->> 'name', payload ->> 'type', headers ->> 'x-by'), ', ' order by topic) from outrider.messages where topic <> 'customer.created'"
            )
            #expect(published == "unwelcome invalid-input, welcomed Ann welcome welcome")
            _ = worker
        }
    }

    @Test func messagesStartSagasExactlyOnceWhileWorkersAreKilled() async throws {
        let saga = Self.onOrder.replacing("key: ${ .input.customer }\n", with: "").replacing(
            "key: \"${ .saga.key }\", ", with: "")
        try await Scene.playing(saga) { scene in
            var worker = try await scene.worker()
            for round in 1...4 {
                try await scene.act(
                    """
                    insert into outrider.outbox (topic, payload)
                    select 'customer.created', jsonb_build_object('customer', 'c' || n) from generate_series(1, 500) n
                    """)
                try await eventually("some have started") {
                    try await scene.database.count("select count(*) from outrider.sagas") > (round - 1) * 500
                }
                worker.kill9()
                worker = try await scene.worker()
            }
            try await eventually("all are done", within: .seconds(60)) {
                try await scene.database.count("select count(*) from outrider.sagas where status = 'completed'") == 2000
            }
            #expect(try await scene.database.count("select count(*) from outrider.sagas") == 2000)
            #expect(Set(scene.handler.received.compactMap { $0.header("idempotency-key") }).count == 2000)
            #expect(
                try await scene.database.count("select count(*) from outrider.messages where topic = 'welcomed'")
                    == 2000)
            #expect(try await scene.deadLetters() == 0)
            _ = worker
        }
    }

    @Test func aRunningSagaKeepsItsDefinitionAndAVersionItsContent() async throws {
        let first = """
            saga: letter
            version: 1
            steps:
              - id: wait
                await: { event: go }
              - id: send
                call: { http: POST /old, endpoint: old }
                compensate: { call: { http: POST /undo, endpoint: old } }
            ---
            endpoint: old
            url: ${ $env.SHOP }
            """
        let second = """
            saga: letter
            version: 2
            steps:
              - id: send
                call: { http: POST /new, endpoint: shop }
            """
        try await Scene.playing(first) { scene in
            var worker = try await scene.worker()
            let id = try await scene.start("letter")
            try await scene.wait(for: id, toWaitFor: "go")
            worker.terminate()
            _ = try await worker.exit()
            scene.folder.write(
                second + Scene.shop + "\n---\nendpoint: old\nurl: ${ $env.SHOP }", to: "workflows/mail.yaml")
            worker = try await scene.worker()
            let other = try await scene.play("letter", to: "completed")
            try await scene.act("select outrider.signal_saga(\(id), 'go')")
            try await scene.wait(for: id, "completed")
            #expect(scene.calls == ["/new", "/old"])
            let versions: String = try await scene.database.value(
                "select string_agg(version::text, ' ' order by version) from outrider.sagas where id in (\(id), \(other))"
            )
            #expect(versions == "1 2")
            scene.folder.write(second.replacing("/new", with: "/newer") + Scene.shop, to: "workflows/mail.yaml")
            let refused = try await scene.command("apply", "\(scene.folder.path)/workflows")
            #expect(refused.exit == .code(1))
            #expect(refused.errors.contains("version 3"))
            _ = worker
        }
    }
}
