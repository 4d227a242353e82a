import HTTPServer
import Primitives

/// The description of the API, written from the routes themselves (OpenAPI 3.1).
enum OpenAPI {
    static let route = Route(
        .get, "/openapi.json", "getDescription", "Describes all that can be asked for",
        answers: [Route.Answer(status: 200, what: "This document.", schema: .any)]
    ) { call in .json(document(of: call.routes)) }

    static func document(of routes: [Route]) -> JSON {
        var paths = JSONObject()
        for route in routes {
            var operations = paths[route.path]?.object ?? JSONObject()
            operations[route.method.rawValue] = operation(route)
            paths[route.path] = .object(operations)
        }
        return [
            "openapi": "3.1.0",
            "info": [
                "title": "Outrider", "version": .string(outriderVersion),
                "description": """
                The sidecar of Outrider. On a loopback address everybody on the machine may ask. On any other, all but health \
                and callbacks needs the admin token. Times are RFC 3339. Errors are problems by RFC 9457; those of \
                Outrider itself have a type such as urn:outrider:OR004.
                """,
            ],
            "paths": .object(paths),
            "components": [
                "securitySchemes": ["admin": ["type": "http", "scheme": "bearer"]],
                "schemas": ["Problem": problem.json],
                "responses": [
                    "Problem": [
                        "description": "It was not done.",
                        "content": ["application/problem+json": ["schema": ["$ref": "#/components/schemas/Problem"]]],
                    ]
                ],
            ],
        ]
    }

    private static let problem = Schema.object([
        ("type", .text), ("title", .text), ("status", .count(400...599)), ("detail", .text), ("hint", .text),
    ])

    private static func operation(_ route: Route) -> JSON {
        var operation = JSONObject([
            ("operationId", .string(route.name)), ("summary", .string(route.summary)),
            ("security", route.access == .admin ? [[:], ["admin": []]] : []),
        ])
        let parameters = route.fields.filter { $0.place != .body }
        if !parameters.isEmpty { operation["parameters"] = .array(parameters.map(parameter)) }
        operation["requestBody"] = body(of: route)
        var responses = JSONObject(route.answers.map { (name: String($0.status), value: answer($0)) })
        responses["default"] = ["$ref": "#/components/responses/Problem"]
        operation["responses"] = .object(responses)
        return .object(operation)
    }

    private static func parameter(_ field: Field) -> JSON {
        [
            "name": .string(field.name), "in": .string(field.place.rawValue), "required": .bool(field.isRequired),
            "description": .string(field.what), "schema": field.schema.json,
        ]
    }

    private static func body(of route: Route) -> JSON? {
        if let body = route.body {
            return [
                "description": .string(body), "required": true,
                "content": ["application/json": ["schema": Schema.any.json]],
            ]
        }
        let members = route.fields(in: .body)
        guard !members.isEmpty else { return nil }
        let properties = members.map { member -> (name: String, value: JSON) in
            var schema = member.schema.json.object ?? JSONObject()
            schema["description"] = .string(
                [schema["description"]?.string, member.what].compactMap(\.self).joined(separator: ": "))
            return (name: member.name, value: .object(schema))
        }
        let required = members.filter(\.isRequired).map { JSON.string($0.name) }
        var schema = JSONObject([
            ("type", "object"), ("properties", .object(JSONObject(properties))), ("additionalProperties", false),
        ])
        if !required.isEmpty { schema["required"] = .array(required) }
        return [
            "required": .bool(!required.isEmpty), "content": ["application/json": ["schema": .object(schema)]],
        ]
    }

    private static func answer(_ answer: Route.Answer) -> JSON {
        [
            "description": .string(answer.what),
            "content": .object(JSONObject([(answer.type, ["schema": answer.schema.json])])),
        ]
    }
}
