import EmbeddedPostgres
import HTTPClient
import Primitives
import TestSupport
import Testing

/// `/openapi.json`, and that it tells of what there is and nothing else.
struct APIDocumentTests {
    private static let routes: Set<String> = [
        "GET /healthz", "GET /readyz", "GET /metrics", "GET /openapi.json", "POST /v1/topics/{topic}",
        "POST /v1/sagas/{saga}", "GET /v1/sagas", "GET /v1/sagas/{saga}", "POST /v1/sagas/{id}/signal",
        "POST /v1/sagas/{id}/cancel", "POST /v1/sagas/{id}/terminate", "POST /v1/sagas/{id}/suspend",
        "POST /v1/sagas/{id}/resume", "POST /v1/sagas/{id}/retry", "POST /v1/sagas/{id}/skip",
        "POST /v1/sagas/{id}/resolve", "POST /v1/steps/{token}/complete", "POST /v1/steps/{token}/fail",
        "POST /v1/steps/{token}/heartbeat", "GET /v1/dead-letters", "GET /v1/dead-letters/{id}",
        "POST /v1/dead-letters/{id}/redrive", "POST /v1/dead-letters/{id}/discard",
        "POST /v1/subscriptions/{name}/pause", "POST /v1/subscriptions/{name}/resume",
        "POST /v1/subscriptions/{name}/replay", "POST /v1/subscriptions/{name}/redrive",
        "POST /v1/subscriptions/{name}/discard",
    ]

    @Test func theDocumentTellsOfExactlyTheseRoutes() async throws {
        try await APISagas.with { _, sidecar, _ in
            let document = try await sidecar.show("/openapi.json")
            #expect(document.status == 200)
            #expect(document.headers["content-type"] == "application/json")
            #expect(document.json["openapi"] == "3.1.0")
            #expect(document.json["info"]?["version"]?.string == outriderVersion)
            var told: Set<String> = []
            var names: [String] = []
            for (path, item) in document.json["paths"]?.object?.members ?? [] {
                let methods = (item.object?.members ?? []).map { $0.name.uppercased() }
                let variables = path.matches(of: #/{(\w+)}/#).map { String($0.1) }
                for (method, operation) in item.object?.members ?? [] {
                    told.insert("\(method.uppercased()) \(path)")
                    names.append(operation["operationId"]?.string ?? "")
                    let parameters = operation["parameters"]?.array ?? []
                    let inPath = parameters.filter { $0["in"] == "path" }.compactMap { $0["name"]?.string }
                    #expect(inPath == variables, "\(path)")
                    #expect(operation["responses"]?["default"] != nil)
                    #expect(method == "post" || operation["requestBody"] == nil)
                }
                // What it tells of is there, and takes these methods and no others.
                let there = path.replacing(#/{\w+}/#, with: "x")
                let (_, head) = try await Program.run([
                    "curl", "--silent", "--include", "--request", "PATCH", "http://127.0.0.1:\(sidecar.port)\(there)",
                ])
                let allowed = methods.map { $0 == "GET" ? "GET, HEAD" : $0 }.joined(separator: ", ")
                #expect(head.hasPrefix("HTTP/1.1 405"), "\(path): \(head)")
                #expect(head.lowercased().contains("\r\nallow: \(allowed.lowercased())\r\n"), "\(path): \(head)")
                for method in methods {
                    let answer = try await sidecar.call(method, there)
                    #expect(answer.status != 405, "\(method) \(path)")
                    #expect(!answer.text.contains("There is nothing at this path"), "\(method) \(path)")
                }
            }
            #expect(told == Self.routes)
            #expect(Set(names).count == told.count)
            #expect(!names.contains(""))
        }
    }

    @Test func whatItDoesNotTellOfIsNotThere() async throws {
        try await APISagas.with { _, sidecar, _ in
            for (method, path) in [
                ("GET", "/"), ("GET", "/v1/events"), ("GET", "/v1"), ("GET", "/v1/sagas/"), ("GET", "//v1/sagas"),
                ("GET", "/v1//sagas"), ("POST", "/v1/sagas/x/undo"), ("POST", "/v1/topics/"), ("GET", "/v2/sagas"),
                ("POST", "/v1/sagas/x/cancel/y"), ("GET", "/v1/Sagas"), ("GET", "/v1%2Fsagas"),
            ] {
                try await sidecar.call(method, path).isProblem(404, "about:blank", "/openapi.json tells what there is")
            }
            try await sidecar.call("GET", "/v1/sagas/%zz").isProblem(400)
            #expect(try await sidecar.status("/v1/sagas", method: "HEAD") == 200)
        }
    }

    @Test func whileTheDatabaseIsAwayTheAPISaysWhenToComeAgain() async throws {
        let folder = TemporaryFolder()
        let postgres = try EmbeddedPostgres.temporary()
        defer { postgres.stop() }
        let environment = [
            "OUTRIDER_DATABASE_URL": postgres.url(), "OUTRIDER_WORKFLOWS": folder.path,
            "OUTRIDER_LISTEN": "127.0.0.1:0",
        ]
        let worker = try RunningOutrider(["run"], environment: environment)
        let sidecar = try await Sidecar(of: worker)
        let unmigrated = try await sidecar.show("/v1/sagas")
        unmigrated.isProblem(503, "about:blank", "outrider migrate")
        #expect(unmigrated.headers["retry-after"] == "10")
        #expect(try await RunningOutrider.run(["migrate"], environment: environment).exit == .code(0))
        #expect(try await sidecar.show("/v1/sagas").status == 200)
        postgres.stop()
        for answer in [try await sidecar.post("/v1/topics/a", "{}"), try await sidecar.post("/v1/steps/x/complete")] {
            answer.isProblem(503, "about:blank", "cannot be reached")
            #expect(answer.headers["retry-after"] == "1")
        }
        // The first that comes afterwards is served.
        try postgres.start()
        #expect(try await sidecar.post("/v1/topics/a", "{}").status == 202)
        postgres.stop()
        try postgres.start()
        #expect(try await sidecar.post("/v1/topics/a", "{}").status == 202)
    }
}
