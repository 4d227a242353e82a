import Primitives
import Testing
import WorkflowFiles

/// A definition is stored as canonical JSON and read back from it.
struct DefinitionContentTests {
    @Test func contentReadsBackAsTheSameDefinition() async throws {
        let text = """
            subscription: mail
            topics: [ order.created, "order.#" ]
            from: 2026-01-31T08:00:00Z
            filter: ${ .payload.total > 0 }
            deliver: { http: POST /mail?x=y, endpoint: shop }
            delivery: at-most-once
            concurrency: 0x10
            timeout: PT5S
            audit: all
            ---
            subscription: bills
            topics: [ a ]
            deliver: { http: "DELETE ${ $env.BILLS }/a" }
            retry: { attempts: forever, multiplier: 1.50, jitter: none, fail_on: [ 503, x ], retry_on: [ 404 ] }
            ---
            topic: order.created
            retention: 7d
            max_backlog: 1000
            overflow: block
            block_for: 1s
            publish_rate: 20/m
            ---
            endpoint: shop
            url: ${ $env.SHOP }
            headers: { X-A: "ä ${ $env.A }" }
            auth: { basic: { username: me, password: { secret: P } } }
            signing: { standard_webhooks: { secret: S } }
            tls: { verify: false }
            """
        let outcome = await Workflows(text).check()
        #expect(outcome.messages == [])
        #expect(outcome.definitions.count == 4)
        for definition in outcome.definitions {
            let stored = try JSON(parsing: Array(definition.content.text.utf8))
            #expect(try Definition(content: stored) == definition)
        }
    }

    @Test func contentForgetsHowItWasWritten() async {
        let yaml = await Workflows("# mine\ntopic: &a 'order.created' \nretention: 7d").check()
        let json = await Workflows(#"{"retention": "7d", "topic": "order.created"}"#).check()
        #expect(yaml.definitions.map(\.content) == json.definitions.map(\.content))
        #expect(yaml.definitions.map(\.content.text) == [#"{"retention":"7d","topic":"order.created"}"#])
    }

    @Test func contentOfAnotherVersionSaysWhatThisOneDoesNotKnow() {
        let error = #expect(throws: DefinitionError.self) {
            try Definition(content: ["topic": "a", "retention": 5, "color": "red"])
        }
        #expect(
            error?.messages == [
                "unknown key 'color' of a topic; expected one of topic, retention, dedupe_window, max_backlog, overflow, block_for, publish_rate",
                "the number 5 stands for retention; expected a duration such as 250ms, 5s, 10m, 2h, 7d or PT5S; did you mean '5s'?",
            ])
    }
}
