import HTTPServer
import Primitives

/// One thing that can be asked for: its method and path, what it takes, what it answers, and the code that does so. Requests
/// are checked against it before that code runs, and `/openapi.json` is written from it.
struct Route: Sendable {
    enum Method: String, Sendable {
        case get, post
        var name: String { rawValue.uppercased() }
    }

    enum Access: Sendable {
        /// Everybody on this machine; from elsewhere with the admin token.
        case admin
        /// Whoever knows the token of the step that is in the path.
        case stepToken
        case everybody
    }

    /// What it answers when all is well. What it answers otherwise is a `Problem`.
    struct Answer: Sendable {
        let status: Int
        let what: String
        var type = "application/json"
        var schema: Schema
    }

    let method: Method
    /// `{name}` stands for one segment.
    let path: String
    /// In the document, and in the log.
    let name: String
    let summary: String
    var access = Access.admin
    var fields: [Field] = []
    /// What the body as a whole is, where it is not an object of `fields`.
    var body: String?
    let answers: [Answer]
    let handle: @Sendable (Call) async throws -> ServerResponse

    init(
        _ method: Method, _ path: String, _ name: String, _ summary: String, access: Access = .admin,
        fields: [Field] = [], body: String? = nil, answers: [Answer],
        handle: @escaping @Sendable (Call) async throws -> ServerResponse
    ) {
        self.method = method
        self.path = path
        self.name = name
        self.summary = summary
        self.access = access
        self.fields = fields
        self.body = body
        self.answers = answers
        self.handle = handle
    }

    func fields(in place: Field.Place) -> [Field] { fields.filter { $0.place == place } }

    /// The values of the path's variables; nil when the path is another one.
    func match(_ segments: [String]) -> [String: String]? {
        let parts = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
        guard parts.count == segments.count else { return nil }
        var values: [String: String] = [:]
        for (part, segment) in zip(parts, segments) {
            if part.hasPrefix("{") {
                guard !segment.isEmpty else { return nil }
                values[String(part.dropFirst().dropLast())] = segment
            } else if part != segment {
                return nil
            }
        }
        return values
    }
}

/// A value of a request that has a name.
struct Field: Sendable {
    enum Place: String, Sendable {
        case path, query, header
        /// A member of the object that the body is.
        case body
    }

    let place: Place
    let name: String
    let schema: Schema
    /// What it says, for the document.
    let what: String
    let isRequired: Bool

    static func path(_ name: String, _ schema: Schema, _ what: String) -> Field {
        Field(place: .path, name: name, schema: schema, what: what, isRequired: true)
    }

    static func query(_ name: String, _ schema: Schema, _ what: String) -> Field {
        Field(place: .query, name: name, schema: schema, what: what, isRequired: false)
    }

    static func header(_ name: String, _ what: String) -> Field {
        Field(place: .header, name: name, schema: .text, what: what, isRequired: false)
    }

    static func member(_ name: String, _ schema: Schema, _ what: String, isRequired: Bool = false) -> Field {
        Field(place: .body, name: name, schema: schema, what: what, isRequired: isRequired)
    }
}

/// What a value may be.
indirect enum Schema: Sendable {
    case text
    case id
    case time
    case duration
    case bool
    case count(ClosedRange<Int>)
    case choice([String])
    /// Any JSON.
    case any
    case list(Schema)
    case object([(name: String, schema: Schema)])
    case nullable(Schema)

    /// As JSON Schema 2020-12 has it, which OpenAPI 3.1 uses.
    var json: JSON {
        switch self {
        case .text: ["type": "string"]
        case .id: ["type": "string", "format": "uuid"]
        case .time: ["type": "string", "format": "date-time"]
        case .duration:
            [
                "description": "250ms, 30s, 10m, 2h, 7d, ISO 8601 such as PT5S, or a number of seconds",
                "type": ["string", "number"],
            ]
        case .bool: ["type": "boolean"]
        case .count(let range):
            ["type": "integer", "minimum": JSON(range.lowerBound), "maximum": JSON(range.upperBound)]
        case .choice(let names): ["type": "string", "enum": .array(names.map { .string($0) })]
        case .any: [:]
        case .list(let element): ["type": "array", "items": element.json]
        case .object(let members):
            [
                "type": "object",
                "properties": .object(JSONObject(members.map { (name: $0.name, value: $0.schema.json) })),
            ]
        case .nullable(let schema): ["anyOf": [schema.json, ["type": "null"]]]
        }
    }
}
