import HTTPServer
import Primitives

/// A request that found its route, with the values that it gives.
struct Call: Sendable {
    let request: ServerRequest
    let route: Route
    /// All routes of this listener.
    let routes: [Route]
    private let values: [String: Given]

    /// Reads what the route takes.
    ///
    /// - Throws: `Problem` for what it does not take, for what is missing, and for a body that is not JSON.
    init(_ request: ServerRequest, _ route: Route, path: [String: String], routes: [Route]) throws(Problem) {
        self.request = request
        self.route = route
        self.routes = routes
        var values = path.mapValues { Given(text: $0) }
        let parameters = route.fields(in: .query).map(\.name)
        for (name, value) in request.query {
            try Self.expect(name, among: parameters, "parameter")
            guard values.updateValue(Given(text: value), forKey: name) == nil else {
                throw .badRequest("The parameter \(name) is given twice.")
            }
        }
        for field in route.fields(in: .header) {
            if let value = request.headers[field.name] { values[field.name] = Given(text: value) }
        }
        for (name, value) in try Self.members(of: request, route) {
            try Self.expect(name, among: route.fields(in: .body).map(\.name), "member")
            // Null says the same as nothing.
            values[name] = value.isNull ? nil : Given(value: value)
        }
        for field in route.fields where field.isRequired && values[field.name] == nil {
            throw .badRequest(
                "\(field.name) is missing.",
                hint: field.place == .body ? "Send {\"\(field.name)\": …}: \(field.what)." : nil)
        }
        self.values = values
    }

    /// The value of one of the route's fields, if it is given.
    subscript(name: String) -> Given.Named? {
        guard let field = route.fields.first(where: { $0.name == name }) else {
            preconditionFailure("\(route.name) declares no \(name)")
        }
        return values[name].map { Given.Named(field: field, given: $0) }
    }

    /// The value of a field that the route requires.
    func required(_ name: String) throws(Problem) -> Given.Named {
        guard let value = self[name] else { throw .badRequest("\(name) is missing.") }
        return value
    }

    private static func expect(_ name: String, among known: [String], _ kind: String) throws(Problem) {
        guard !known.contains(name) else { return }
        let hint = closest(to: name, among: known).map { "Did you mean \($0)?" }
        throw .badRequest(
            "There is no \(kind) '\(name)' here.",
            hint: hint ?? (known.isEmpty ? "It takes none." : "It takes \(known.joined(separator: ", "))."))
    }

    // MARK: - The body

    /// The body as it came, which is JSON, in UTF-8.
    func body() throws(Problem) -> String {
        guard !request.body.isEmpty else {
            throw .badRequest(
                "The body is empty; expected \(route.body ?? "an object").", hint: "Send {} for an empty one.")
        }
        _ = try Self.json(of: request)
        return String(decoding: request.body, as: UTF8.self)
    }

    private static func members(of request: ServerRequest, _ route: Route) throws(Problem) -> [(
        name: String, value: JSON
    )] {
        guard route.body == nil, !request.body.isEmpty else { return [] }
        guard let object = try json(of: request).object else {
            throw .badRequest("The body is no object; expected \(route.expectedBody).")
        }
        return object.members
    }

    private static func json(of request: ServerRequest) throws(Problem) -> JSON {
        let type = request.headers["content-type"] ?? ""
        // What a web page sends as another type, its browser does not ask us for leave to send (Fetch standard, CORS).
        guard request.headers["origin"] == nil || isJSON(type) else {
            throw Problem(
                415, "Unsupported Media Type",
                type.isEmpty
                    ? "The body has no Content-Type; expected application/json."
                    : "The body is \(type); expected application/json.",
                hint: "Send Content-Type: application/json.")
        }
        do throws(JSONError) {
            return try JSON(parsing: request.body)
        } catch {
            throw .badRequest("The body is not JSON: \(error).")
        }
    }

    /// `application/json` or a type of its family (RFC 6839), with whatever parameters.
    private static func isJSON(_ contentType: String) -> Bool {
        let type = contentType.prefix { $0 != ";" }.lowercased().filter { $0 != " " && $0 != "\t" }
        return type == "application/json" || type.hasPrefix("application/") && type.hasSuffix("+json")
    }
}

extension Route {
    fileprivate var expectedBody: String {
        let members = fields(in: .body).map { "\"\($0.name)\": …" }
        return members.isEmpty ? "nothing, or {}" : "{\(members.joined(separator: ", "))}"
    }
}

/// A value as it came: the text of a path, a query or a header, or JSON.
struct Given: Sendable {
    fileprivate let json: JSON
    fileprivate let isText: Bool

    fileprivate init(text: String) {
        json = .string(text)
        isText = true
    }

    fileprivate init(value: JSON) {
        json = value
        isText = false
    }

    /// Each way to read it throws a `Problem` that says what was expected.
    struct Named: Sendable {
        fileprivate let field: Field
        fileprivate let given: Given

        var json: JSON { given.json }

        func text() throws(Problem) -> String {
            guard let text = json.string else { throw wrong("a string") }
            return text
        }

        func id() throws(Problem) -> UUID {
            guard let id = json.string.flatMap({ UUID($0) }) else { throw wrong("an id, a UUID") }
            return id
        }

        func time() throws(Problem) -> Timestamp {
            guard let time = json.string.flatMap({ Timestamp(rfc3339: $0) }) else {
                throw wrong("a time such as 2026-11-24T08:00:00Z")
            }
            return time
        }

        /// A number is one of seconds.
        func duration() throws(Problem) -> Duration {
            let text = json.string ?? ""
            let seconds = given.isText ? Double(text) : json.double
            if let seconds, seconds >= 0, seconds <= 86400 * 10_000 { return .microseconds(Int64(seconds * 1_000_000)) }
            guard let duration = Duration(text: text) else { throw wrong("a duration such as 30s or 10m, or seconds") }
            return duration
        }

        func bool() throws(Problem) -> Bool {
            if given.isText, let text = json.string, ["true", "false"].contains(text) { return text == "true" }
            guard let bool = json.bool else { throw wrong("true or false") }
            return bool
        }

        /// Within the range that the field declares.
        func count() throws(Problem) -> Int {
            guard case .count(let range) = field.schema else { preconditionFailure("\(field.name) is no count") }
            guard let count = given.isText ? json.string.flatMap({ Int($0) }) : json.int, range.contains(count) else {
                throw wrong("a number from \(range.lowerBound) to \(range.upperBound)")
            }
            return count
        }

        /// One of those that the field declares.
        func choice() throws(Problem) -> String {
            guard case .choice(let names) = field.schema else { preconditionFailure("\(field.name) is no choice") }
            guard let text = json.string, names.contains(text) else {
                let hint = json.string.flatMap { closest(to: $0, among: names) }.map { "Did you mean \($0)?" }
                throw wrong("one of \(names.joined(separator: ", "))", hint: hint)
            }
            return text
        }

        func wrong(_ expected: String, hint: String? = nil) -> Problem {
            .badRequest("\(field.name) is \(String(json.text.prefix(100))); expected \(expected).", hint: hint)
        }
    }
}
