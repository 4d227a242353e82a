import Delivery
import Primitives
import Testing

@testable import Engine
@testable import HTTPClient

/// What a handler's answer says, as far as it decides anything.
struct AnswerHeaderTests {
    private let now = Timestamp(rfc3339: "2026-03-01T12:00:00Z")!

    private func answer(_ headers: [(name: String, value: String)], status: Int = 503, body: String = "") -> Answer {
        Answer(
            HTTPResponse(status: status, headers: HTTPResponse.Headers(fields: headers), body: Array(body.utf8)),
            now: now)
    }

    @Test(arguments: [
        ("0", Duration.zero), ("17", .seconds(17)), ("99999999999", .seconds(86_400 * 365)),
        ("Sun, 01 Mar 2026 12:00:30 GMT", .seconds(30)), ("Sun, 01 Mar 2026 11:59:00 GMT", .zero),
    ])
    func retryAfterIsSecondsOrADate(value: String, expected: Duration) {
        #expect(answer([("retry-after", value)]).retryAfter == expected)
    }

    /// Its clock may be hours off; the span it means is not.
    @Test func aDateIsTakenByTheClockOfTheHandler() {
        let headers = [
            (name: "date", value: "Sun, 01 Mar 2026 03:30:00 GMT"),
            (name: "retry-after", value: "Sun, 01 Mar 2026 03:31:30 GMT"),
        ]
        #expect(answer(headers).retryAfter == .seconds(90))
        #expect(answer([headers[0], ("retry-after", "5")]).retryAfter == .seconds(5))
        // Longer than anybody waits, and capped by the policy.
        #expect(answer([("retry-after", "99999999999999999999")]).retryAfter == .seconds(31_536_000))
        #expect(
            answer([("date", "yesterday"), ("retry-after", "Sun, 01 Mar 2026 12:00:30 GMT")]).retryAfter
                == .seconds(30))
    }

    @Test(arguments: [
        "", "soon", "-1", "1.5", "1e3", "Sun, 31 Feb 2026 12:00:30 GMT",
        "Sun, 01 Mar 2026 12:00:30 CET", "Sun, 01 Mrz 2026 12:00:30 GMT", "2026-03-01T12:00:30Z",
    ])
    func garbageIsNoRetryAfter(value: String) {
        #expect(answer([("retry-after", value)]).retryAfter == nil)
    }

    @Test func theWordsOfAProblemAreReadFromAnError() {
        let body = #"{"type": "https://shop/busy", "title": "Busy", "detail": "a\u0000b"}"#
        let kind = [(name: "content-type", value: "application/problem+json; charset=utf-8")]
        #expect(
            answer(kind, body: body).problem == Problem(type: "https://shop/busy", title: "Busy", detail: "a\0b"))
        #expect(answer(kind, status: 200, body: body).problem == nil)
        #expect(answer(kind, body: "{").problem == nil)
        #expect(answer([("content-type", "application/json")], body: body).problem == nil)
    }
}
