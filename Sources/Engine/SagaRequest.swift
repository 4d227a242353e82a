import Delivery
import HTTPClient
import Primitives
import Sagas

/// Makes the HTTP request of one try of a saga's call, and reads its answer.
enum SagaRequest {
    /// What is the same for all calls of a saga.
    struct Context: Sendable {
        var saga: UUID
        var name: String
        var version: Int
        var traceParent: String?
    }

    /// - Parameters:
    ///   - token: of an async call; nil for others.
    ///   - callbackURL: where its callbacks reach this worker, if anywhere.
    ///   - now: by the database's clock; dates the signature.
    static func make(
        id: UInt64, _ call: Effect.CallEffect, _ context: Context, endpoint: ResolvedEndpoint?, token: String?,
        callbackURL: String?, now: Timestamp
    ) -> HTTPRequest {
        let http = call.request
        let body = http.hasBody ? Array(call.body.jsonbText.utf8) : []
        var headers = endpoint?.headers ?? []
        if http.hasBody { headers.append("Content-Type: application/json") }
        headers += http.headers
        headers += [
            "User-Agent: outrider/\(outriderVersion)",
            "Idempotency-Key: \"\(call.idempotencyKey)\"",
            "Outrider-Attempt: \(call.attempt)",
            "Outrider-Saga: \(context.name)",
            "Outrider-Saga-Id: \(context.saga)",
            "Outrider-Saga-Version: \(context.version)",
            "Outrider-Step: \(call.step)",
            "Outrider-Op: \(call.op.rawValue)",
            "Outrider-Deadline: \(call.deadline.rfc3339)",
            "traceparent: \(context.traceParent.flatMap { TraceParent($0) }?.child() ?? TraceParent.root(of: context.saga))",
        ]
        if let key = call.forwardKey { headers.append("Outrider-Forward-Idempotency-Key: \"\(key)\"") }
        if let token {
            headers.append("Outrider-Callback-Token: \(token)")
            if let callbackURL { headers.append("Outrider-Callback-Url: \(callbackURL)/v1/steps/\(token)") }
        }
        if let signer = endpoint?.signer { headers += signer.headers(id: call.idempotencyKey, at: now, body: body) }
        return HTTPRequest(
            id: id, method: http.method, url: (endpoint?.base ?? "") + http.url, headers: headers, body: body,
            timeout: call.timeout, tls: endpoint?.tls)
    }
}

extension SagaEvent.TryResult {
    /// - Parameters:
    ///   - now: by the database's clock.
    ///   - redact: takes secrets out of a handler's words.
    init(
        _ result: Result<HTTPResponse, TransportFailure>, policy: RetryPolicy, isAsync: Bool, now: Timestamp,
        redact: @escaping (String) -> String
    ) {
        if isAsync, case .success(let response) = result, response.status == 202,
            response.headers["outrider-result"] == nil
        {
            self = .accepted
            return
        }
        let redacted = { (error: TryError) in
            let clean = { (text: String?) in text.map { redact($0).storable } }
            return TryError(
                status: error.status, type: clean(error.type), message: redact(error.message).storable,
                problem: error.problem.map {
                    Problem(type: clean($0.type), title: clean($0.title), detail: clean($0.detail))
                })
        }
        switch TryOutcome(result, policy: policy, now: now) {
        case .succeeded:
            guard case .success(let response) = result, let output = response.output else {
                self = .refused(
                    TryError(
                        type: "output-not-storable", message: "the answer holds a number that PostgreSQL cannot keep"),
                    isUnknown: true)
                return
            }
            self = .succeeded(output)
        case .ongoing(let retryAfter): self = .ongoing(retryAfter: retryAfter)
        case .failed(let error, let happened, let retryAfter):
            self = .failed(redacted(error), happened: happened, retryAfter: retryAfter)
        case .refused(let error):
            self = .refused(redacted(error), isUnknown: error.type == DeliveryMachine.Reason.outputTooLarge.rawValue)
        }
    }
}

extension HTTPResponse {
    /// A JSON body; null for any other. Nil when PostgreSQL could not keep it.
    var output: JSON? {
        let type = headers["content-type"]?.lowercased()
        guard type == nil || type?.contains("json") == true, let json = try? JSON(parsing: body) else { return .null }
        return json.storable
    }
}

extension String {
    /// As PostgreSQL can keep it.
    var storable: String { utf8.contains(0) ? replacing("\0", with: "\u{FFFD}") : self }
}

extension JSON {
    /// As `jsonb` can hold it: U+0000 replaced. Nil for a number beyond `numeric`.
    var storable: JSON? {
        switch self {
        case .null, .bool: return self
        case .number(let number): return number.plainDigits == nil ? nil : self
        case .string(let text): return .string(text.storable)
        case .array(let elements):
            let stored = elements.compactMap(\.storable)
            return stored.count == elements.count ? .array(stored) : nil
        case .object(let object):
            let stored = object.members.compactMap { member in
                member.value.storable.map { (name: member.name.storable, value: $0) }
            }
            return stored.count == object.members.count ? .object(JSONObject(stored)) : nil
        }
    }
}
