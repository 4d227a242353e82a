import Testing
import WorkflowFiles

/// Documents in good YAML whose options are wrong.
struct WrongOptionsTests {
    /// Further lines of a subscription, from line 4 on.
    @Test(arguments: [
        ("concurency: 4", "4:1: error: unknown key 'concurency' of a subscription; did you mean 'concurrency'?"),
        (
            "retries: 4",
            "4:1: error: unknown key 'retries' of a subscription; expected one of subscription, topics, from, filter, deliver, delivery, ordered, concurrency, concurrency_per_key, rate, batch, timeout, retry, on_exhausted, audit"
        ),
        (
            "concurrency: 0",
            "4:14: error: the number 0 stands for concurrency; expected a whole number from 1 to 10000, or auto"
        ),
        (
            "concurrency: 10001",
            "4:14: error: the number 10001 stands for concurrency; expected a whole number from 1 to 10000, or auto"
        ),
        (
            "concurrency: 1.5",
            "4:14: error: the number 1.5 stands for concurrency; expected a whole number from 1 to 10000, or auto"
        ),
        (
            "concurrency: \"8\"",
            "4:14: error: '8' stands for concurrency; expected a whole number from 1 to 10000, or auto"
        ),
        (
            "concurrency: [ 8 ]",
            "4:14: error: a list stands for concurrency; expected a whole number from 1 to 10000, or auto"
        ),
        (
            "concurrency:",
            "4:13: error: nothing stands for concurrency; expected a whole number from 1 to 10000, or auto"
        ),
        (
            "timeout: 5",
            "4:10: error: the number 5 stands for timeout; expected a duration such as 250ms, 5s, 10m, 2h, 7d or PT5S; did you mean '5s'?"
        ),
        (
            "timeout: 5sec",
            "4:10: error: '5sec' stands for timeout; expected a duration such as 250ms, 5s, 10m, 2h, 7d or PT5S; did you mean '5s'?"
        ),
        (
            "timeout: 1 s",
            "4:10: error: '1 s' stands for timeout; expected a duration such as 250ms, 5s, 10m, 2h, 7d or PT5S; did you mean '1s'?"
        ),
        (
            "timeout: -1s",
            "4:10: error: '-1s' stands for timeout; expected a duration such as 250ms, 5s, 10m, 2h, 7d or PT5S"
        ),
        (
            "timeout: P1Y",
            "4:10: error: 'P1Y' stands for timeout; expected a duration such as 250ms, 5s, 10m, 2h, 7d or PT5S"
        ),
        (
            "timeout: true",
            "4:10: error: true stands for timeout; expected a duration such as 250ms, 5s, 10m, 2h, 7d or PT5S"
        ),
        ("timeout: 0s", "4:10: error: '0s' stands for timeout; expected at least 1ms"),
        ("timeout: 25h", "4:10: error: '25h' stands for timeout; expected at most 1d"),
        (
            "from: erliest",
            "4:7: error: 'erliest' stands for from; expected now, earliest or a time such as 2026-01-31T08:00:00Z; did you mean 'earliest'?"
        ),
        (
            "from: 2026-02-30T00:00:00Z",
            "4:7: error: '2026-02-30T00:00:00Z' stands for from; expected now, earliest or a time such as 2026-01-31T08:00:00Z"
        ),
        (
            "delivery: at_most_once",
            "4:11: error: 'at_most_once' stands for delivery; expected at-least-once or at-most-once; did you mean 'at-most-once'?"
        ),
        (
            "delivery: exactly-once",
            "4:11: error: 'exactly-once' stands for delivery; expected at-least-once or at-most-once"
        ),
        (
            "audit: failure",
            "4:8: error: 'failure' stands for audit; expected failures or all; did you mean 'failures'?"
        ),
        (
            "on_exhausted: dead-letter",
            "4:15: error: 'dead-letter' stands for on_exhausted; expected dead_letter, block or drop; did you mean 'dead_letter'?"
        ),
        (
            "ordered: yes",
            "4:10: error: 'yes' stands for ordered; expected true or false; did you mean true? YAML 1.2 reads yes as a text"
        ),
        ("batch: 100", "4:8: error: the number 100 stands for batch; expected a mapping with max, linger"),
        ("batch: { size: 100 }", "4:10: error: unknown key 'size' of batch; expected one of max, linger"),
        ("batch: { lingr: 1s }", "4:10: error: unknown key 'lingr' of batch; did you mean 'linger'?"),
        ("batch: { max: 0 }", "4:15: error: the number 0 stands for max; expected a whole number from 1 to 1000"),
        ("batch: { max: 1001 }", "4:15: error: the number 1001 stands for max; expected a whole number from 1 to 1000"),
        (
            "batch: { linger: 5 }",
            "4:18: error: the number 5 stands for linger; expected a duration such as 250ms, 5s, 10m, 2h, 7d or PT5S; did you mean '5s'?"
        ),
        ("batch: { linger: 11s }", "4:18: error: '11s' stands for linger; expected at most 10s"),
        (
            "retry: 3",
            "4:8: error: the number 3 stands for retry; expected a mapping with attempts, initial, multiplier, …"
        ),
        (
            "retry: { attempts: 0 }",
            "4:20: error: the number 0 stands for attempts; expected a whole number from 1 to 1000000, or forever; attempts counts tries in total: 1 means no retry"
        ),
        (
            "retry: { attempts: -1 }",
            "4:20: error: the number -1 stands for attempts; expected a whole number from 1 to 1000000, or forever"
        ),
        (
            "retry: { attempts: unlimited }",
            "4:20: error: 'unlimited' stands for attempts; expected a whole number from 1 to 1000000, or forever"
        ),
        ("retry: { atempts: 3 }", "4:10: error: unknown key 'atempts' of retry; did you mean 'attempts'?"),
        (
            "retry: { initial: 10m, max: 5m }",
            "4:19: error: initial (10m) is longer than max (5m); expected max to be the longest delay"
        ),
        (
            "retry: { initial: 1m }",
            "4:19: error: initial (1m) is longer than max (30s); expected max to be the longest delay"
        ),
        (
            "retry: { max: 100ms }",
            "4:15: error: initial (500ms) is longer than max (100ms); expected max to be the longest delay"
        ),
        (
            "retry: { multiplier: 0.5 }",
            "4:22: error: the number 0.5 stands for multiplier; expected a number from 1 to 1000"
        ),
        ("retry: { multiplier: two }", "4:22: error: 'two' stands for multiplier; expected a number from 1 to 1000"),
        (
            "retry: { jitter: ful }",
            "4:18: error: 'ful' stands for jitter; expected none, full or equal; did you mean 'full'?"
        ),
        (
            "retry: { fail_on: card-declined }",
            "4:19: error: 'card-declined' stands for fail_on; expected a list; write [ card-declined ]"
        ),
        (
            "retry: { fail_on: [ 200 ] }",
            "4:21: error: the number 200 stands in fail_on; expected a status from 300 to 599, or a problem type such as card-declined"
        ),
        (
            "retry: { fail_on: [ 425 ] }",
            "4:21: error: 425 stands in fail_on; it says that the handler is still at work; expected another status"
        ),
        (
            "retry: { fail_on: [ 503, x ], retry_on: [ x ] }",
            "4:41: error: fail_on and retry_on both name 'x'; expected it in one of them"
        ),
        (
            "ordered: yes",
            "4:10: error: 'yes' stands for ordered; expected true or false; did you mean true? YAML 1.2 reads yes as a text"
        ),
        (
            "ordered: true\nconcurrency_per_key: 2",
            "5:22: error: 'concurrency_per_key' stands beside 'ordered: true'; expected one of them: an ordered key is delivered one message at a time"
        ),
        (
            "ordered: true\ndelivery: at-most-once",
            "4:10: error: 'ordered: true' stands beside 'delivery: at-most-once'; expected delivery: at-least-once; a message that is forgotten before it is sent cannot hold its key's place"
        ),
        (
            "concurrency_per_key: 0",
            "4:22: error: the number 0 stands for concurrency_per_key; expected a whole number from 1 to 1000"
        ),
        (
            "on_exhausted: block",
            "4:15: error: 'on_exhausted: block' stands in a subscription that is not ordered; expected dead_letter or drop, or 'ordered: true' beside it"
        ),
    ])
    func optionsOfASubscriptionAreChecked(lines: String, message: String) async {
        let outcome = await Workflows(Workflows.subscription(lines)).check()
        #expect(outcome.messages == ["a.yaml:\(message)"])
        #expect(outcome.hasErrors)
    }

    /// What the language has and this version does not: refused, never ignored.
    /// Further lines of a subscription, from line 4 on.
    @Test(arguments: [
        (
            "concurrency: aut",
            "4:14: error: 'aut' stands for concurrency; expected a whole number from 1 to 10000, or auto; did you mean 'auto'?"
        ),
        (
            "rate: 500",
            "4:7: error: the number 500 stands for rate; expected a rate such as 100/s, 20/m or 5/h, of 1 to 1000000; did you mean '500/s'?"
        ),
        (
            "rate: 5/d",
            "4:7: error: '5/d' stands for rate; expected a rate such as 100/s, 20/m or 5/h, of 1 to 1000000"
        ),
        ("rate: 0/s", "4:7: error: '0/s' stands for rate; expected a rate such as 100/s, 20/m or 5/h, of 1 to 1000000"),
        (
            "rate: [ 5/s ]",
            "4:7: error: a list stands for rate; expected a rate such as 100/s, 20/m or 5/h, of 1 to 1000000"
        ),
    ])
    func limitsOfASubscriptionAreChecked(lines: String, message: String) async {
        #expect(await Workflows(Workflows.subscription(lines)).check().messages == ["a.yaml:\(message)"])
    }

    /// Further lines of an endpoint, from line 3 on.
    @Test(arguments: [
        ("concurrency: 0", "3:14: error: the number 0 stands for concurrency; expected a whole number from 1 to 10000"),
        ("concurrency: auto", "3:14: error: 'auto' stands for concurrency; expected a whole number from 1 to 10000"),
        (
            "rate: fast",
            "3:7: error: 'fast' stands for rate; expected a rate such as 100/s, 20/m or 5/h, of 1 to 1000000"
        ),
        (
            "breaker: 20",
            "3:10: error: the number 20 stands for breaker; expected a mapping with failures, within, open_for"
        ),
        ("breaker: { failure: 20 }", "3:12: error: unknown key 'failure' of breaker; did you mean 'failures'?"),
        (
            "breaker: { failures: 0 }",
            "3:22: error: the number 0 stands for failures; expected a whole number from 1 to 10000"
        ),
        ("breaker: { within: 2h }", "3:20: error: '2h' stands for within; expected at most 1h"),
        ("breaker: { open_for: 0s }", "3:22: error: '0s' stands for open_for; expected at least 100ms"),
        ("braker: {}", "3:1: error: unknown key 'braker' of an endpoint; did you mean 'breaker'?"),
    ])
    func limitsOfAnEndpointAreChecked(line: String, message: String) async {
        #expect(await Workflows(Workflows.endpoint(line)).check().messages == ["a.yaml:\(message)"])
    }

    @Test(arguments: ["rabbitmq", "kafka", "sqs", "sns", "pubsub", "redis", "celery"])
    func otherTargetsAreRefused(target: String) async {
        #expect(
            await Workflows("subscription: a\ntopics: [ b ]\ndeliver: { \(target): x }").check().messages
                == [
                    "a.yaml:3:12: error: '\(target)' of deliver is not supported yet; leave it out for this version of Outrider"
                ])
    }

    /// The topics, in line 2.
    @Test(arguments: [
        ("order.created", "2:9: error: 'order.created' stands for topics; expected a list; write [ order.created ]"),
        ("[]", "2:9: error: topics is empty; expected at least one topic or pattern"),
        (
            "[ Order.Created ]",
            "2:11: error: 'Order.Created' stands for a topic; expected parts of a-z, 0-9 and '-' with dots between, '*' for one part, '#' at the end for all that follow; did you mean 'order.created'?"
        ),
        (
            "[ order_created ]",
            "2:11: error: 'order_created' stands for a topic; expected parts of a-z, 0-9 and '-' with dots between, '*' for one part, '#' at the end for all that follow; did you mean 'order-created'?"
        ),
        (
            "[ a.#.b ]",
            "2:11: error: 'a.#.b' stands for a topic; expected parts of a-z, 0-9 and '-' with dots between, '*' for one part, '#' at the end for all that follow"
        ),
        (
            "[ a.b*, c ]",
            "2:11: error: 'a.b*' stands for a topic; expected parts of a-z, 0-9 and '-' with dots between, '*' for one part, '#' at the end for all that follow"
        ),
        ("[ a, b, a ]", "2:17: error: the topic 'a' stands twice; expected each topic once"),
        ("[ 7 ]", "2:11: error: the number 7 stands for a topic; expected a text; quote it: \"7\""),
        (
            "\n- #",
            "3:2: error: nothing stands for a topic; expected a topic or a pattern; '#' begins a comment: quote it"
        ),
    ])
    func topicsAreChecked(topics: String, message: String) async {
        let text = "subscription: mail\ntopics: \(topics)\ndeliver: { http: POST https://a.example }"
        #expect(await Workflows(text).check().messages == ["a.yaml:\(message)"])
    }

    /// The target, in line 3. An endpoint `shop` is there.
    @Test(arguments: [
        (
            "POST https://a.example",
            "10: error: 'POST https://a.example' stands for deliver; expected a mapping with http, endpoint, sql, …"
        ),
        ("{}", "10: error: deliver without 'http'; expected http: POST https://…, or sql: select …"),
        ("{ endpoint: shop }", "10: error: deliver without 'http'; expected http: POST https://…, or sql: select …"),
        ("{ htpp: POST https://a.example }", "12: error: unknown key 'htpp' of deliver; did you mean 'http'?"),
        (
            "{ http: https://a.example/x }",
            "18: error: 'https://a.example/x' stands for http; expected GET, POST, PUT, PATCH, DELETE and a URL; write POST https://a.example/x"
        ),
        (
            "{ http: post https://a.example/x }",
            "18: error: 'post https://a.example/x' stands for http; expected GET, POST, PUT, PATCH, DELETE and a URL; did you mean POST?"
        ),
        (
            "{ http: PSOT /x, endpoint: shop }",
            "18: error: 'PSOT /x' stands for http; expected GET, POST, PUT, PATCH, DELETE and a path; did you mean POST?"
        ),
        (
            "{ http: POST }",
            "18: error: the URL is empty; expected http:// or https:// and a host"
        ),
        (
            "{ http: POST /x }",
            "18: error: '/x' has no scheme and host; expected http:// or https:// and a host; use ${ $env.NAME } for a base URL, or name an endpoint"
        ),
        (
            "{ http: POST x, endpoint: shop }",
            "18: error: the URL 'x' stands beside an endpoint, which has the address; expected a path that begins with '/'"
        ),
        (
            "{ http: POST //x, endpoint: shop }",
            "18: error: the URL '//x' stands beside an endpoint, which has the address; expected a path that begins with '/'"
        ),
        (
            "{ http: POST https://a.example/x, endpoint: shop }",
            "18: error: the URL 'https://a.example/x' stands beside an endpoint, which has the address; expected a path that begins with '/'"
        ),
        (
            "{ http: \"POST ${ $env.X }/x\", endpoint: shop }",
            "18: error: the URL '${ $env.X }/x' stands beside an endpoint, which has the address; expected a path that begins with '/'"
        ),
        (
            "{ http: POST /x, endpoint: Shop }",
            "37: error: 'Shop' stands for the name of an endpoint; expected a-z, 0-9, '.' and '-', beginning with a letter; did you mean 'shop'?"
        ),
        (
            "{ http: POST /x, endpoint: shpo }",
            "37: error: the endpoint 'shpo' is declared nowhere; expected a document 'endpoint: shpo' in these files; did you mean 'shop'?"
        ),
        ("{ http: [ POST, /x ], endpoint: shop }", "18: error: a list stands for http; expected a text"),
    ])
    func targetIsChecked(target: String, message: String) async {
        let text = "subscription: mail\ntopics: [ order.created ]\ndeliver: \(target)"
        let files = Workflows(["a.yaml": text, "b.yaml": Workflows.endpoint()])
        #expect(await files.check().messages.first == "a.yaml:3:\(message)")
    }

    @Test(arguments: ["subscription", "topic", "endpoint"])
    func documentsHaveNames(kind: String) async {
        let article = kind == "endpoint" ? "an" : "a"
        func message(_ found: String, _ suggestion: String = "") -> String {
            "a.yaml:1:\(kind.count + 3): error: \(found) stands for the name of \(article) \(kind); expected "
                + "a-z, 0-9, '.' and '-', beginning with a letter\(suggestion)"
        }
        func messages(_ name: String) async -> [String] { await Workflows("\(kind): \(name)").check().messages }
        #expect(await messages("Order_Email").contains(message("'Order_Email'", "; did you mean 'order-email'?")))
        #expect(await messages("7up").contains(message("'7up'")))
        #expect(await messages("-a").contains(message("'-a'")))
        #expect(await messages("ä").contains(message("'ä'")))
        let long = String(repeating: "a", count: 256)
        #expect(
            await messages(long).contains(
                "a.yaml:1:\(kind.count + 3): error: '\(long.prefix(57))…' stands for the name of \(article) \(kind); expected at most 255 characters"
            ))
        #expect(
            await messages("7").contains(
                "a.yaml:1:\(kind.count + 3): error: the number 7 stands for the name of \(article) \(kind); expected a text; quote it: \"7\""
            ))
    }

    @Test func whatIsRequiredIsMissed() async {
        #expect(
            await Workflows("subscription: a\n---\nendpoint: b").check().messages == [
                "a.yaml:1:1: error: a subscription without 'deliver'; expected deliver: { http: POST https://… }",
                "a.yaml:1:1: error: a subscription without 'topics'; expected topics: [ order.created ]",
                "a.yaml:3:1: error: an endpoint without 'url'; expected url: http:// or https:// and a host",
            ])
    }

    @Test func whatHasNoEffectAtMostOnceIsAWarning() async {
        let outcome = await Workflows(
            Workflows.subscription("delivery: at-most-once\nretry: { attempts: 3 }\non_exhausted: drop")
        ).check()
        #expect(
            outcome.messages == [
                "a.yaml:5:8: warning: 'retry' has no effect beside 'delivery: at-most-once', which tries once; leave one of the two out",
                "a.yaml:6:15: warning: 'on_exhausted' has no effect beside 'delivery: at-most-once', which tries once; leave one of the two out",
            ])
        #expect(!outcome.hasErrors)
    }

    @Test(arguments: [
        ("dedupe_window: 0", "the number 0 stands for dedupe_window; expected at least 1ms"),
        ("dedupe_window: 366d", "'366d' stands for dedupe_window; expected at most 365d"),
        ("retention: 3651d", "'3651d' stands for retention; expected at most 3650d"),
        (
            "retention: forever",
            "'forever' stands for retention; expected a duration such as 250ms, 5s, 10m, 2h, 7d or PT5S"
        ),
    ])
    func optionsOfATopicAreChecked(line: String, message: String) async {
        let column = line.prefix { $0 != ":" }.count + 3
        #expect(await Workflows("topic: a\n\(line)").check().messages == ["a.yaml:2:\(column): error: \(message)"])
    }
}
