import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// Expressions that fail while a saga runs (case 19 of the semantics), and the steps that are made of nothing else.
struct SagaExpressionTests {
    static func saga(_ step: String, undo: String = "null") -> String {
        """
        saga: count
        version: 1
        steps:
          - id: first
            call: { http: POST /first, endpoint: shop }
            compensate: { call: { http: POST /undo, endpoint: shop, body: "\(undo)" } }
          - id: second
            \(step)
          - id: third
            if: ${ .input.third != false }
            call: { http: POST /third, endpoint: shop }
        """
    }

    @Test(arguments: [
        (#"set: { a: "${ .input.n | tonumber }" }"#, "expression"),
        (#"set: { a: "${ last(range(1e12)) }" }"#, "expression"),
        (#"set: { a: "${ [limit(1e9; repeat(1))] | length }" }"#, "expression"),
        (#"set: { a: "${ .input.big + 1 }" }"#, "expression"),
        (#"if: "${ error(\"\\u0000 no\") }"\#n    set: { a: 1 }"#, "expression"),
        (#"wait: { until: "${ .input.n }" }"#, "expression"),
        (#"foreach: { in: "${ .input.n }", as: item, steps: [ { id: inner, set: { a: 1 } } ] }"#, "expression"),
        (#"call: { http: "POST /x/${ .input.missing }", endpoint: shop }"#, "expression"),
        (#"call: { http: POST /x, endpoint: shop, headers: { X-A: "${ .input.crlf }" } }"#, "expression"),
        (#"if: ${ .input.n }\#n    fail: { type: sold-out, detail: "n is ${ .input.n }" }"#, "sold-out"),
    ])
    func anExpressionThatFailsFailsItsStepAndTheSagaAborts(step: String, type: String) async throws {
        try await Scene.playing(Self.saga(step)) { scene in
            let worker = try await scene.worker()
            let id = try await scene.play(
                "count", #"{"n": "x", "crlf": "a\r\nb", "big": 9007199254740993}"#, to: "compensated")
            #expect(scene.calls == ["/first", "/undo"])
            let failure: JSON = try await scene.database.value("select failure from outrider.sagas where id = \(id)")
            #expect(failure["type"]?.string == type, "\(failure)")
            #expect(failure["step"]?.string == "second")
            _ = worker
        }
    }

    @Test func aRunawayExpressionCostsItsOwnSagaOnly() async throws {
        let other = """

            ---
            saga: quick
            version: 1
            steps:
              - id: sum
                set: { sum: "${ [.input.n, 1] | add }" }
            output: ${ .steps.sum.output.sum }
            """
        try await Scene.playing(Self.saga(#"set: { a: "${ last(range(1e12)) }" }"#) + other) { scene in
            let worker = try await scene.worker()
            let slow = try await scene.start("count")
            try await scene.handler.wait(for: 1)
            let id = try await scene.play("quick", #"{"n": 41}"#, to: "completed")
            #expect(try await scene.status(of: slow) == "running")
            #expect(try await scene.database.value("select output::text from outrider.sagas where id = \(id)") == "42")
            try await scene.wait(for: slow, "compensated")
            _ = worker
        }
    }

    @Test func anExpressionThatFailsInACompensationMakesTheSagaStuck() async throws {
        try await Scene.playing(
            Self.saga(
                "if: \"${ .input.third != false }\"\n    fail: { type: no-way }", undo: "${ .output.done | tonumber }")
        ) { scene in
            let worker = try await scene.worker()
            let id = try await scene.play("count", to: "stuck")
            #expect(scene.calls == ["/first"])
            try await scene.act("select outrider.skip_step(\(id), 'first', 'by hand')")
            try await scene.wait(for: id, "compensated")
            _ = worker
        }
    }

    @Test func zeroBytesAreReplacedAndEndNoWorker() async throws {
        let step = #"set: { a: "${ \"x\\u0000y\" }" }"#
        try await Scene.playing(
            Self.saga(step),
            Script([
                "/third": [
                    .run { _ in
                        ServerResponse(
                            status: 400, headers: [("Content-Type", "application/problem+json")],
                            body: Array(#"{"type": "a\u0000b", "detail": "c\u0000d"}"#.utf8))
                    }
                ]
            ])
        ) { scene in
            let worker = try await scene.worker()
            let id = try await scene.play("count", to: "compensated")
            let output: String = try await scene.database.value(
                "select output ->> 'a' from outrider.saga_steps where saga_id = \(id) and step = 'second'")
            #expect(output == "x\u{FFFD}y")
            let failure: JSON = try await scene.database.value("select failure from outrider.sagas where id = \(id)")
            #expect(failure["type"]?.string == "a\u{FFFD}b")
            _ = worker
        }
    }

    @Test func aSwitchTakesTheFirstMatchAndSkippedStepsAreSkipped() async throws {
        let saga = """
            saga: sort
            version: 1
            steps:
              - id: size
                switch:
                  - when: ${ .input.n > 100 }
                    steps: [ { id: big, call: { http: POST /big, endpoint: shop } } ]
                  - when: ${ .input.n > 10 }
                    steps: [ { id: middle, call: { http: POST /middle, endpoint: shop } } ]
                  - otherwise: true
                    steps: [ { id: small, call: { http: POST /small, endpoint: shop } } ]
              - id: odd
                if: ${ .input.n % 2 == 1 }
                call: { http: POST /odd, endpoint: shop }
              - id: tell
                publish: { topic: sorted, key: "${ .input.n }", payload: { n: "${ .input.n }" }, headers: { x-n: "n${ .input.n }" } }
              - id: reshaped
                set: { a: 1 }
                output: { b: "${ .output.a }" }
            output: ${ .steps.reshaped.output }
            """
        try await Scene.playing(saga) { scene in
            let worker = try await scene.worker()
            for (n, calls) in [(500, ["/big"]), (50, ["/middle"]), (5, ["/small", "/odd"])] {
                scene.handler.forget()
                let id = try await scene.play("sort", #"{"n": \#(n)}"#, to: "completed")
                #expect(scene.calls == calls)
                #expect(
                    try await scene.database.value("select output::text from outrider.sagas where id = \(id)")
                        == #"{"b": 1}"#)
            }
            let messages: String = try await scene.database.value(
                "select string_agg(concat_ws(' ', key, payload ->> 'n', headers ->> 'x-n'), ', ' order by published_at) from outrider.messages"
            )
            #expect(messages == "500 500 n500, 50 50 n50, 5 5 n5")
            _ = worker
        }
    }
}
