import Delivery
import Primitives
import Testing
import WorkflowFiles

@testable import Engine
@testable import HTTPClient
@testable import Store

/// The request of a batch, and how its answer is read.
struct BatchRequestTests {
    private let first = UUID.random()
    private let second = UUID.random()

    @Test(arguments: [
        ("correlation_id", "correlationid"), ("X-Tenant", "xtenant"), ("a.b", "ab"), ("käse", "kse"), ("__", ""),
    ])
    func aHeadersNameIsMadeAnAttributesName(header: String, attribute: String) {
        #expect(BatchRequest.attributeName(header) == attribute)
    }

    private func answer(_ body: String) -> BatchAnswer? {
        BatchAnswer(
            HTTPResponse(
                status: 200, headers: HTTPResponse.Headers(fields: [("retry-after", "3")]), body: Array(body.utf8)),
            now: Timestamp(microseconds: 0))
    }

    @Test(arguments: ["", "ok", "null", "[]", "{}", #"{"result": 1}"#])
    func aBodyWithoutResultsSaysNothing(body: String) {
        #expect(answer(body) == nil)
    }

    @Test func aFailureWinsWhereAnIDStandsTwice() {
        for results in [["succeeded", "failed"], ["failed", "succeeded"]] {
            let items = results.map { #"{"id": "\#(first)", "result": "\#($0)"}"# }.joined(separator: ",")
            guard case .refused = answer(#"{"results": [\#(items)]}"#)?.outcome(of: first) else {
                Issue.record("\(results) is no refusal")
                continue
            }
        }
    }

    @Test func retryAfterIsOfAllThatAreTriedAgain() throws {
        let said = try #require(
            answer(
                #"{"results": [{"id": "\#(first)", "result": "retry"}, {"id": "\#(UUID.random())", "result": "failed"}, {"id": 4}]}"#
            ))
        for id in [first, second] {
            guard case .failed(_, happened: .unknown, retryAfter: .seconds(3)) = said.outcome(of: id) else {
                Issue.record("\(said.outcome(of: id))")
                continue
            }
        }
        #expect(said.count(notAmong: [first, second]) == 2)
    }

    @Test func theSignatureIsOverTheWholeBatch() throws {
        let secret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"
        let endpoint = try Definition(content: [
            "endpoint": "shop", "url": "https://shop.example",
            "signing": ["standard_webhooks": ["secret": "S"]],
        ])
        let subscription = try Definition(content: [
            "subscription": "mail", "topics": ["order.created"], "batch": ["max": 2],
            "deliver": ["http": "POST /mail", "endpoint": "shop"],
        ])
        guard case .endpoint(let endpoint) = endpoint, case .subscription(let subscription) = subscription else {
            Issue.record("they are something else")
            return
        }
        let resolver = RouteResolver(
            endpoints: ["shop": .success(endpoint)],
            secrets: Secrets(environment: ["S": secret], readFile: { _ in nil }), exposed: [:], source: "/outrider")
        let now = Timestamp(rfc3339: "2026-03-01T12:00:00Z")!
        let request = BatchRequest.make(
            id: 1, [delivery(first, attempts: 0), delivery(second, attempts: 6)], try resolver.resolve(subscription),
            now: now)
        let id = try #require(request.headers.first { $0.hasPrefix("webhook-id: ") }).dropFirst(12)
        let expected = try WebhookSigner(secret: Secret(secret)).headers(id: String(id), at: now, body: request.body)
        #expect(expected.allSatisfy(request.headers.contains))
        #expect(request.headers.contains("Outrider-Attempt: 7"))
        #expect(try JSON(parsing: request.body).array?.map { $0["outriderattempt"]?.int } == [1, 7])
    }

    private func delivery(_ id: UUID, attempts: Int) -> ClaimedDelivery {
        ClaimedDelivery(
            id: 1, subscription: 1, owner: nil, attempts: attempts, isReplay: false, isKeyed: false, elapsed: nil,
            message: ClaimedDelivery.Message(
                topic: "order.created", key: nil, payload: Array("{}".utf8), headers: nil,
                publishedAt: Timestamp(microseconds: 0), isExpired: false),
            messageID: id)
    }
}
