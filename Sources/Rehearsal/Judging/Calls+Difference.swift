import Primitives
import Sagas

extension [ExpectedCall] {
    func difference(from calls: [Performance.Call]) -> Difference? {
        ListComparison(
            noun: "call", expectedNames: map(\.operation.description), foundNames: calls.map(\.operation.description),
            expectedLine: { self[$0].line }, foundLine: { calls[$0].line },
            isSame: { self[$0].operation.means(calls[$1].operation) }, mismatches: { self[$0].mismatches(calls[$1]) }
        ).difference("calls")
    }
}

extension ExpectedCall {
    fileprivate func mismatches(_ call: Performance.Call) -> [String] {
        var wrong: [String] = []
        func compare(_ what: String, _ expected: String?, _ found: String?) {
            guard let expected, expected != found else { return }
            wrong.append("the \(what) is \(found ?? "none"); expected \(expected)")
        }
        if let attempt, attempt != call.attempt { wrong.append("it is try \(call.attempt); expected try \(attempt)") }
        let http = call.request
        compare("method", method, http?.method)
        if let url, http?.url != url, http.map({ Self.path(of: $0.url) }) != url { compare("url", url, http?.url) }
        compare("endpoint", endpoint, http?.endpoint)
        for (name, value) in headers.sorted(by: { $0.key < $1.key }) {
            compare("header \(name)", value, http?.header(name))
        }
        if let input { wrong += call.input.mismatches(with: input, at: call.inputName) }
        if let after, call.at < after { wrong.append("it came at \(call.at.clock); expected after \(after.clock)") }
        if let within, call.at > within {
            wrong.append("it came at \(call.at.clock); expected within \(within.clock)")
        }
        return wrong
    }

    /// What follows the host.
    private static func path(of url: String) -> String? {
        guard let scheme = url.firstRange(of: "://") else { return nil }
        return url[scheme.upperBound...].firstIndex(of: "/").map { String(url[$0...]) }
    }

    fileprivate var line: String {
        var parts = [operation.description]
        if let method { parts.append(method) }
        if let url { parts.append(url) }
        if let endpoint { parts.append("of \(endpoint)") }
        parts += headers.sorted { $0.key < $1.key }.map { "\($0.key): \($0.value)" }
        if let input { parts.append("with \(input.text)") }
        if let attempt { parts.append("(try \(attempt))") }
        if let after { parts.append("(after \(after.clock))") }
        if let within { parts.append("(within \(within.clock))") }
        return parts.joined(separator: " ")
    }
}

extension Performance.Call {
    fileprivate var request: Request.HTTP? {
        if case .http(let request, _) = content { request } else { nil }
    }

    fileprivate var input: JSON {
        switch content {
        case .http(_, let body): body
        case .sql(_, let arguments): .array(arguments)
        case .start(_, let input, _): input
        case .undo: .null
        }
    }

    fileprivate var inputName: String {
        switch content {
        case .http: "body"
        case .sql: "args"
        case .start, .undo: "input"
        }
    }

    package var line: String {
        var parts = [operation.description]
        switch content {
        case .http(let request, let body):
            parts += [request.method, request.url]
            if let endpoint = request.endpoint { parts.append("of \(endpoint)") }
            if request.hasBody { parts.append("with \(body.text)") }
        case .sql(_, let arguments): parts.append("with \(JSON.array(arguments).text)")
        case .start(let saga, let input, let key):
            parts += ["starts", saga] + (key.map { ["as", $0] } ?? [])
            if !input.isNull { parts.append("with \(input.text)") }
        case .undo: parts.append("undoes the sub-saga")
        }
        if attempt > 1 { parts.append("(try \(attempt))") }
        parts.append("at \(at.clock)")
        return parts.joined(separator: " ")
    }
}

extension Request.HTTP {
    fileprivate func header(_ name: String) -> String? {
        for line in headers {
            guard let colon = line.firstIndex(of: ":"), line[..<colon].lowercased() == name.lowercased() else {
                continue
            }
            return String(line[line.index(after: colon)...].drop { $0 == " " })
        }
        return nil
    }
}
