import Delivery
import Expressions
import Primitives

/// The values of expressions, as they came back from evaluation.
struct Bindings {
    private var values: [Expression: JSON]

    init(_ expressions: [Expression], _ values: [JSON]) {
        self.values = Dictionary(zip(expressions, values)) { first, _ in first }
    }

    func callAsFunction(_ expression: Expression) throws(ExpressionError) -> JSON {
        guard let value = values[expression] else { preconditionFailure("\(expression) was not evaluated") }
        return value
    }

    /// The same as a function to pass on.
    var value: (Expression) throws(ExpressionError) -> JSON {
        { (expression) throws(ExpressionError) in try self(expression) }
    }
}

// MARK: - What there is to evaluate, and what is made of it

extension Action {
    /// Of the step's input; not those of inner steps, and of a switch none, since its conditions are asked one by one.
    var expressions: [Expression] {
        switch self {
        case .call(let call): call.expressions
        case .publish(let publication): publication.expressions
        case .foreach(let loop): [loop.items]
        case .wait(.until(let expression)): [expression]
        case .approve(let approval): approval.prompt.expressions
        case .run(let run): run.input.expressions + (run.key?.expressions ?? [])
        case .set(let value): value.expressions
        case .fail(let fail): fail.detail?.expressions ?? []
        case .parallel, .choose, .wait(.duration), .await: []
        }
    }
}

extension Compensation {
    var expressions: [Expression] {
        switch action {
        case .call(let call): call.expressions
        case .publish(let publication): publication.expressions
        }
    }
}

extension Call {
    var expressions: [Expression] {
        switch self {
        case .http(let http):
            http.url.template.expressions + http.headers.flatMap(\.value.expressions) + (http.body?.expressions ?? [])
        case .sql(let sql): sql.arguments.flatMap(\.expressions)
        }
    }

    /// The body, or the arguments.
    func input(_ values: Bindings) throws(ExpressionError) -> JSON {
        switch self {
        case .http(let http): return try http.body?.resolve(values.value) ?? .null
        case .sql(let sql):
            var arguments: [JSON] = []
            for argument in sql.arguments { arguments.append(try argument.resolve(values.value)) }
            return .array(arguments)
        }
    }

    func request(_ values: Bindings) throws(ExpressionError) -> Request {
        switch self {
        case .http(let http):
            var headers: [String] = []
            for header in http.headers {
                headers.append("\(header.name): \(try header.line(values))")
            }
            return .http(
                Request.HTTP(
                    method: http.method.rawValue, url: try http.url.resolve(values.value), endpoint: http.endpoint,
                    headers: headers, hasBody: http.body != nil, isAsync: http.isAsync))
        case .sql: return .sql
        }
    }
}

extension HTTPCall.Header {
    /// The value in one line.
    func line(_ values: Bindings) throws(ExpressionError) -> String {
        let text = try value.text(values.value)
        guard !text.utf8.contains(where: { $0 == 0x0A || $0 == 0x0D || $0 == 0 }) else {
            throw .failed(message: "the header \(name) holds a line break")
        }
        return text
    }
}

extension Publication {
    var expressions: [Expression] {
        (key?.expressions ?? []) + payload.expressions + headers.flatMap(\.value.expressions)
    }

    func message(_ origin: Effect.Message.Origin, _ values: Bindings) throws(ExpressionError) -> Effect.Message {
        var fields: [Effect.HeaderField] = []
        for header in headers { fields.append(Effect.HeaderField(name: header.name, value: try header.line(values))) }
        let key = try key.map { (template) throws(ExpressionError) in try template.text(values.value) }
        return Effect.Message(
            origin: origin, topic: topic, key: key, payload: try payload.resolve(values.value), headers: fields)
    }
}

extension Failure {
    init(_ error: ExpressionError) {
        self.init(type: "expression", detail: "\(error)")
    }

    /// - Parameter reason: what it is called when the handler gives no problem type.
    init(_ error: TryError, or reason: String) {
        let said = error.problem
        self.init(
            type: error.type ?? reason, title: said?.title,
            detail: said?.title == nil && said?.detail == nil ? error.message : said?.detail, status: error.status)
    }
}
