import HTTPClient
import HTTPServer
import Postgres
import Primitives
import TestSupport
import Testing

/// What the API answered.
struct APIAnswer: Sendable {
    let status: Int
    let text: String
    let json: JSON
    let headers: HTTPResponse.Headers

    /// That it is a problem, of this type, and says something.
    func isProblem(
        _ status: Int, _ type: String = "about:blank", _ detail: String = "",
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(self.status == status, "\(text)", sourceLocation: sourceLocation)
        #expect(headers["content-type"] == "application/problem+json", "\(text)", sourceLocation: sourceLocation)
        #expect(json["status"]?.int == status, "\(text)", sourceLocation: sourceLocation)
        #expect(json["type"]?.string == type, "\(text)", sourceLocation: sourceLocation)
        #expect(json["title"]?.string?.isEmpty == false, "\(text)", sourceLocation: sourceLocation)
        let said = (json["detail"]?.string ?? "") + " " + (json["hint"]?.string ?? "")
        #expect(said.contains(detail), "\(text)", sourceLocation: sourceLocation)
    }
}

extension Sidecar {
    static let json = "Content-Type: application/json"

    func call(
        _ method: String, _ path: String, body: String = "", headers: [String] = [Sidecar.json], port: Int? = nil
    ) async throws -> APIAnswer {
        let request = HTTPRequest(
            method: method, url: "http://127.0.0.1:\(port ?? self.port)\(path)", headers: headers,
            body: Array(body.utf8))
        let response = try await caller.send(request).result.get()
        return APIAnswer(
            status: response.status, text: response.text, json: (try? JSON(parsing: response.body)) ?? .null,
            headers: response.headers)
    }

    func post(_ path: String, _ body: String = "", headers: [String] = [Sidecar.json]) async throws -> APIAnswer {
        try await call("POST", path, body: body, headers: headers)
    }

    func show(_ path: String) async throws -> APIAnswer {
        try await call("GET", path, headers: [])
    }

    /// Starts a saga and returns its id.
    func start(_ saga: String, _ input: String = "{}", sourceLocation: SourceLocation = #_sourceLocation) async throws
        -> String
    {
        let answer = try await post("/v1/sagas/\(saga)", input)
        #expect(answer.status == 201, "\(answer.text)", sourceLocation: sourceLocation)
        return try #require(answer.json["id"]?.string, sourceLocation: sourceLocation)
    }

    func waitUntil(_ id: String, is status: String) async throws {
        try await eventually("the saga is \(status)") {
            try await show("/v1/sagas/\(id)").json["status"]?.string == status
        }
    }

    /// What the history tells of, in order.
    func events(of id: String) async throws -> [String] {
        (try await show("/v1/sagas/\(id)").json["history"]?.array ?? []).compactMap { $0["event"]?.string }
    }
}

/// Sagas that the API's tests play with, and their handlers.
enum APISagas {
    static let workflows = """
        endpoint: shop
        url: ${ $env.SHOP }
        ---
        subscription: mail
        topics: [ order.created ]
        deliver: { http: POST /mail, endpoint: shop }
        retry: { attempts: 1 }
        ---
        saga: order
        version: 1
        key: ${ .input.id }
        steps:
          - id: reserve
            call: { http: POST /reserve, endpoint: shop, body: "${ .input }" }
            compensate:
              call: { http: POST /release, endpoint: shop, body: "${ .input }" }
              retry: { attempts: 1 }
          - id: charge
            call: { http: POST /charge, endpoint: shop, body: "${ .input }" }
            compensate: none
        output:
          total: ${ .input.total }
        ---
        saga: ship
        version: 1
        steps:
          - id: reserve
            call: { http: POST /reserve, endpoint: shop, body: "${ .input }" }
            compensate:
              call: { http: POST /release, endpoint: shop, body: "${ .input }" }
          - id: parcel
            timeout: 5s
            retry: { attempts: 1 }
            call: { http: POST /ship, endpoint: shop, async: true, body: "${ .input }" }
            compensate: none
        output:
          parcel: ${ .steps.parcel.output }
        ---
        saga: handover
        version: 1
        steps:
          - id: hand
            await: { event: handed-over }
        output:
          payload: ${ .steps.hand.output }
        ---
        saga: approval
        version: 1
        steps:
          - id: boss
            approve: { prompt: "Really?" }
        ---
        saga: pay
        version: 1
        steps:
          - id: pay
            pivot: true
            call: { http: POST /reserve, endpoint: shop, body: "${ .input }" }
          - id: receipt
            call: { http: POST /charge, endpoint: shop, body: "${ .input }" }
            retry: { attempts: 1 }
        output:
          receipt: ${ .steps.receipt.output }
        """

    /// Refuses a body that says so, and leaves what is shipped unanswered until the test answers it.
    static let handler = HandlerServer.Behaviour.decides { received in
        switch received.request.path {
        case "/ship": received.body.contains("hangs") ? nil : .text("", status: 202)
        case "/charge" where received.body.contains("declined"): .text("no", status: 422)
        case "/release" where received.body.contains("unreleasable"): .text("no", status: 422)
        case "/mail" where received.body.contains("refused"): .text("no", status: 422)
        default: .json(["path": .string(received.request.path)])
        }
    }

    static func with(
        _ environment: [String: String] = ["OUTRIDER_LISTEN": "127.0.0.1:0"],
        _ body: (Scene, Sidecar, RunningOutrider) async throws -> Void
    ) async throws {
        try await Scene.with(workflows: workflows, handler: handler) { scene in
            let worker = try await scene.worker(environment: environment)
            try await body(scene, try await Sidecar(of: worker), worker)
        }
    }
}

extension Scene {
    /// The newest request at `/ship`, once there are so many.
    func shipment(_ count: Int = 1) async throws -> HandlerServer.Received {
        try await handler.wait(for: count, at: "/ship")
        return try #require(handler.received(at: "/ship").last)
    }
}
