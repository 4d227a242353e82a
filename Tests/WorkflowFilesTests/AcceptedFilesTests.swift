import Delivery
import Expressions
import Primitives
import Testing
import WorkflowFiles

/// What well-formed files mean.
struct AcceptedFilesTests {
    private func accepted(_ text: String, file: String = "a.yaml") async throws -> Workflows.Outcome {
        let outcome = await Workflows(text, file: file).check()
        try #require(outcome.messages == [])
        return outcome
    }

    @Test func smallestSubscriptionHasTheDefaults() async throws {
        let subscription = try #require(try await accepted(Workflows.subscription()).subscriptions.first)
        #expect(subscription.name == "mail")
        #expect(subscription.topics.map(\.text) == ["order.created"])
        #expect(subscription.from == .now)
        #expect(subscription.filter == nil)
        #expect(subscription.guarantee == .atLeastOnce)
        #expect(subscription.concurrency == 64)
        #expect(subscription.batch == nil)
        #expect(subscription.timeout == .seconds(30))
        #expect(subscription.retry == RetryPolicy())
        #expect(subscription.onExhausted == .deadLetter)
        #expect(subscription.audit == .failures)
        guard case .http(let target) = subscription.target else { return }
        #expect(target.method == .post)
        #expect(target.endpoint == nil)
        #expect(try target.url.resolve(environment: [:]) == "https://mail.example/send")
    }

    @Test func everyOptionOfASubscriptionIsRead() async throws {
        let text = """
            subscription: order-email
            topics: [ order.created, "order.*", invoice.# ]
            from: earliest
            filter: ${ .payload.total > 0 }
            deliver:
              http: PUT /events?source=outrider
              endpoint: shop
            delivery: at-least-once
            ordered: false
            concurrency: 7
            rate: 20/m
            batch: { max: 20, linger: 5ms }
            timeout: 10s
            retry:
              attempts: forever
              initial: 200ms
              multiplier: 1.5
              max: 5m
              jitter: equal
              max_elapsed: 2h
              retry_after_max: 1m
              ongoing_interval: 3s
              fail_on: [ card-declined, 503 ]
              retry_on: [ 404, "https://errors.example/stale" ]
            on_exhausted: drop
            audit: all
            ---
            endpoint: shop
            url: https://shop.example
            """
        let subscription = try #require(try await accepted(text).subscriptions.first)
        #expect(subscription.topics.map(\.text) == ["order.created", "order.*", "invoice.#"])
        #expect(subscription.from == .earliest)
        #expect(subscription.filter?.source == ".payload.total > 0")
        #expect(subscription.concurrency == 7)
        #expect(subscription.rate == Rate(text: "20/m"))
        #expect(subscription.batch?.max == 20)
        #expect(subscription.batch?.linger == .milliseconds(5))
        #expect(subscription.timeout == .seconds(10))
        var policy = RetryPolicy()
        policy.attempts = .forever
        policy.initial = .milliseconds(200)
        policy.multiplier = 1.5
        policy.max = .seconds(300)
        policy.jitter = .equal
        policy.maxElapsed = .seconds(7200)
        policy.retryAfterMax = .seconds(60)
        policy.ongoingInterval = .seconds(3)
        policy.failOn = [.problemType("card-declined"), .status(503)]
        policy.retryOn = [.status(404), .problemType("https://errors.example/stale")]
        #expect(subscription.retry == policy)
        #expect(subscription.onExhausted == .drop)
        #expect(subscription.audit == .all)
        guard case .http(let target) = subscription.target else { return }
        #expect(target.method == .put)
        #expect(target.endpoint == "shop")
        #expect(target.url.isPath)
        #expect(try target.url.resolve(environment: [:]) == "/events?source=outrider")
    }

    @Test func everyOptionOfAnEndpointIsRead() async throws {
        let text = """
            endpoint: payments
            url: ${ $env.PAYMENTS }/v1
            headers: { X-Team: orders, X-Region: "${ $env.REGION }" }
            auth:
              bearer: { secret: PAYMENTS_TOKEN }
            signing:
              standard_webhooks: { secret: payments-webhook.key }
            tls: { ca: /etc/ssl/internal.pem, cert: /etc/ssl/me.pem, key: /etc/ssl/me.key, verify: false }
            concurrency: 32
            rate: 200/s
            breaker: { failures: 5, within: 1m, open_for: 30s }
            """
        let endpoint = try #require(try await accepted(text).endpoints.first)
        #expect(endpoint.name == "payments")
        #expect(try endpoint.url.resolve(environment: ["PAYMENTS": "https://pay.example"]) == "https://pay.example/v1")
        #expect(endpoint.headers.map(\.name) == ["X-Team", "X-Region"])
        #expect(try endpoint.headers[1].value.resolve(environment: ["REGION": "eu"]) == "eu")
        #expect(endpoint.authentication == .bearer(SecretReference(name: "PAYMENTS_TOKEN")))
        #expect(endpoint.signingSecret?.name == "payments-webhook.key")
        #expect(endpoint.concurrency == 32)
        #expect(endpoint.rate == Rate(text: "200/s"))
        var breaker = CircuitBreaker.Policy()
        breaker.failures = 5
        breaker.within = .seconds(60)
        breaker.openFor = .seconds(30)
        #expect(endpoint.breaker == breaker)
        #expect(endpoint.tls.ca == "/etc/ssl/internal.pem")
        #expect(endpoint.tls.cert == "/etc/ssl/me.pem")
        #expect(endpoint.tls.key == "/etc/ssl/me.key")
        #expect(!endpoint.tls.verify)
    }

    @Test func credentialsComeInThreeKinds() async throws {
        let text = """
            endpoint: a
            url: https://a.example
            auth: { basic: { username: me, password: { secret: PASSWORD } } }
            ---
            endpoint: b
            url: https://b.example
            auth: { header: { name: X-Api-Key, value: { secret: KEY } } }
            """
        let endpoints = try await accepted(text).endpoints
        #expect(
            endpoints.map(\.authentication) == [
                .basic(username: "me", password: SecretReference(name: "PASSWORD")),
                .header(name: "X-Api-Key", value: SecretReference(name: "KEY")),
            ])
    }

    @Test func everyOptionOfATopicIsRead() async throws {
        let topics = try await accepted("topic: a\n---\ntopic: b\nretention: 0\ndedupe_window: 36h").topics
        #expect(topics[0].retention == .seconds(86_400))
        #expect(topics[0].dedupeWindow == nil)
        #expect(topics[1].retention == .zero)
        #expect(topics[1].dedupeWindow == .seconds(36 * 3600))
    }

    @Test func jsonIsReadLikeYAML() async throws {
        let json = """
            {
            \t"subscription": "mail",
            \t"topics": ["order.created"],
            \t"deliver": {"http":"POST https:\\/\\/mail.example\\/send"},
            \t"filter": "${ .payload.name == \\"\\u00e4\\" }",
            \t"retry": {"attempts":3,"multiplier":2.50}
            }
            """
        let outcome = try await accepted(json, file: "a.json")
        #expect(outcome.subscriptions.first?.filter?.source == #".payload.name == "ä""#)
        #expect(outcome.subscriptions.first?.retry.attempts == .limited(3))
    }

    @Test func aFileHoldsManyDocumentsAndEmptyOnesCountForNothing() async throws {
        let text = """
            # The topics of the shop.
            ---
            topic: a
            ---
            # nothing here
            ---
            topic: b
            ...
            ---
            topic: c
            ---
            """
        #expect(try await accepted(text).topics.map(\.name) == ["a", "b", "c"])
    }

    @Test func aliasStandsForTheValueOfItsAnchor() async throws {
        let text =
            Workflows.subscription(
                """
                retry: { fail_on: &gone [ 410, gone ], retry_on: [ 404 ] }
                timeout: &short 5s
                """) + "\n---\n"
            + Workflows.subscription("timeout: &a !!str 1m\naudit: all").replacing("mail\n", with: "two\n")
        let subscriptions = try await accepted(text).subscriptions
        #expect(subscriptions[0].timeout == .seconds(5))
        #expect(subscriptions[1].timeout == .seconds(60))
        let shared = """
            subscription: three
            topics: [ &topic order.created ]
            deliver: { http: POST https://a.example }
            retry: { initial: &pause 2s, max: *pause }
            """
        let retry = try #require(try await accepted(shared).subscriptions.first?.retry)
        #expect(retry.initial == .seconds(2))
        #expect(retry.max == .seconds(2))
    }

    @Test(arguments: [
        ("no", JSON.string("no")), ("yes", "yes"), ("off", "off"), ("010", 10), ("+7", 7), ("0o17", 15), ("0x1F", 31),
        ("1_000", "1_000"), ("12:30", "12:30"), ("true", true), ("False", false), ("~", nil), ("null", nil),
        ("nUll", "nUll"),
        (".5", .number(JSONNumber(digits: "0.5"))), ("007.50", .number(JSONNumber(digits: "7.50"))),
        ("-0", .number(JSONNumber(digits: "-0"))), ("1e3", .number(JSONNumber(digits: "1e3"))),
        (".inf", ".inf"), (".nan", ".nan"), ("2026-01-31", "2026-01-31"), ("!!str 010", "010"), ("\"010\"", "010"),
        ("'no'", "no"),
        ("123456789012345678901234567890", .number(JSONNumber(digits: "123456789012345678901234567890"))),
    ])
    func scalarsAreReadByTheCoreSchema(text: String, expected: JSON) async throws {
        // A problem type is any text, and a list takes any scalar: the content keeps what was understood.
        let outcome = await Workflows(Workflows.subscription("retry: { fail_on: [ \(text) ] }")).check()
        #expect(outcome.subscriptions.first?.content["retry"]?["fail_on"] == [expected])
    }

    @Test(arguments: [
        ("250ms", 250), ("5s", 5000), ("10m", 600_000), ("2h", 7_200_000), ("1d", 86_400_000), ("0.5s", 500),
        ("PT5S", 5000),
        ("PT0.25S", 250), ("PT1H30M", 5_400_000), ("P1D", 86_400_000), ("PT24H", 86_400_000),
    ])
    func durationsHaveTwoNotations(text: String, milliseconds: Int) async throws {
        let subscription = try await accepted(Workflows.subscription("timeout: \(text)")).subscriptions.first
        #expect(subscription?.timeout == .milliseconds(milliseconds))
    }

    @Test func fromTakesATimeWithItsOffset() async throws {
        let subscription = try await accepted(Workflows.subscription("from: 2026-01-31T09:00:00+01:00")).subscriptions
            .first
        #expect(subscription?.from == .at(try #require(Timestamp(rfc3339: "2026-01-31T08:00:00Z"))))
    }

    @Test(arguments: [
        "${ .payload.total > 0 }", "${ .key != null and .topic == \"order.created\" }",
        "\"${ .headers[\\\"x-a\\\"] == \\\"b\\\" }\"",
        "'${ .payload | has(\"vip\") }'", "\"${ {a: .payload.x} == {a: 1} }\"", "'${ .payload.tag == \"a # b\" }'",
        "${ .payload.items | any(.price > 3) }", "${ $env.REGION == .payload.region }", "${.payload.ok}", "${ true }",
        "|\n  ${\n    .payload.total > 0   # not free\n    and .payload.paid\n  }",
        "${ any(.payload.items[]; .price > 3) }", "${ .payload as $p | $p.total > 0 }",
        "${ [.payload.a, .payload.b] | all }",
    ])
    func filtersAreWholeExpressions(filter: String) async throws {
        #expect(try await accepted(Workflows.subscription("filter: \(filter)")).subscriptions.first?.filter != nil)
    }

    @Test(arguments: [
        "http://localhost", "https://shop.example:8443/v1/", "https://[::1]:80/x", "${ $env.SHOP }",
        "${ $env.SHOP }/v1",
        "https://${ $env.HOST }/v1", "https://shop.example:${ $env.PORT }/v1", "https://shop.example/%20/~a/@b",
    ])
    func addressesAreLiteralOrVariables(url: String) async throws {
        #expect(try await accepted("endpoint: a\nurl: \(url)").endpoints.count == 1)
    }

    @Test func byteOrderMarkAndCarriageReturnsAreNothing() async throws {
        #expect(
            try await accepted("\u{FEFF}topic: a\r\nretention: 2d\r\n").topics.first?.retention == .seconds(172_800))
    }

    @Test func foldersAreSearchedWithoutTestsAndHiddenFiles() async throws {
        let outcome = await Workflows([
            "a.yaml": "topic: a", "b/c/d.yml": "topic: b", "b/e.json": #"{"topic": "c"}"#, "x.test.yaml": "topic: 1",
            ".hidden.yaml": "topic: 1", ".hidden/f.yaml": "topic: 1", "README.md": "topic: 1",
        ]).check()
        #expect(outcome.messages == [])
        #expect(outcome.topics.map(\.name) == ["a", "b", "c"])
    }
}
