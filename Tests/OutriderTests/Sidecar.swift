import HTTPClient
import Primitives
import TestSupport
import Testing

/// The HTTP of a worker, found by its log.
struct Sidecar {
    let port: Int
    let caller = HTTPCaller()

    init(of worker: RunningOutrider) async throws {
        try await worker.waitForLog("http.listening")
        // The line may be half written when it is first seen.
        var port: Int?
        try await eventually("the log tells the port") {
            let line = worker.log.split(separator: "\n").first { $0.contains("http.listening") }
            port = line?.firstMatch(of: #/port"?[=:](\d+)/#).flatMap { Int($0.1) }
            return port != nil && worker.log.hasSuffix("\n")
        }
        self.port = try #require(port)
    }

    func get(_ path: String, headers: [String] = [], method: String = "GET") async throws -> HTTPResponse {
        let request = HTTPRequest(method: method, url: "http://127.0.0.1:\(port)\(path)", headers: headers)
        return try await caller.send(request).result.get()
    }

    func status(_ path: String, headers: [String] = [], method: String = "GET") async throws -> Int {
        try await get(path, headers: headers, method: method).status
    }

    /// The samples of /metrics by name and labels, as they are written.
    func metrics() async throws -> [String: Double] {
        var samples: [String: Double] = [:]
        for line in try await get("/metrics").text.split(separator: "\n") where !line.hasPrefix("#") {
            let space = try #require(line.lastIndex(of: " "))
            samples[String(line[..<space])] = Double(line[line.index(after: space)...])
        }
        return samples
    }

    func waitUntil(ready isReady: Bool, because reason: String = "") async throws {
        try await eventually("/readyz says \(isReady ? "ready" : "not ready: …\(reason)…")") {
            let answer = try await get("/readyz")
            return answer.status == (isReady ? 200 : 503) && answer.text.contains(reason)
        }
    }
}

extension HTTPResponse {
    var text: String { String(decoding: body, as: UTF8.self) }
}
