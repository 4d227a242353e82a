package import Expressions
package import Primitives
package import Sagas
package import Schedules

/// What happens at certain times: a message is published, or a saga is started.
package struct ScheduleDefinition: Sendable, Hashable {
    package enum Act: Sendable, Hashable {
        case publish(Publication)
        case start(Start)
    }

    package struct Start: Sendable, Hashable {
        package var saga: String
        /// Default `{}`.
        package var input: ValueTemplate = .literal(.object(JSONObject([])))
        /// Default: what the saga's own `key:` makes of the input.
        package var key: Template?
    }

    package var name: String
    /// In UTC unless it says otherwise.
    package var recurrence: Recurrence
    package var act: Act
    /// See `Definition.content`.
    package var content: JSON
}

// MARK: - What a firing does

extension ScheduleDefinition {
    /// In a form that the database can carry out.
    package struct Deed: Sendable {
        package enum Kind: String, Sendable {
            case publish, start
        }

        package var kind: Kind
        /// The topic or the saga.
        package var target: String
        package var key: String?
        /// The payload or the input.
        package var document: JSON
        /// Of the message.
        package var headers: [(name: String, value: String)] = []
    }

    /// What there is to evaluate for a firing.
    package var expressions: [Expression] {
        switch act {
        case .publish(let publication):
            (publication.key?.expressions ?? []) + publication.payload.expressions
                + publication.headers.flatMap(\.value.expressions)
        case .start(let start): start.input.expressions + (start.key?.expressions ?? [])
        }
    }

    /// What expressions see beside `$env`.
    package static func scope(_ scheduledAt: Timestamp) -> JSON { ["scheduled_at": .string(scheduledAt.rfc3339)] }

    /// - Parameter value: of each expression.
    package func deed(_ value: (Expression) throws(ExpressionError) -> JSON) throws(ExpressionError) -> Deed {
        switch act {
        case .publish(let publication):
            var deed = Deed(
                kind: .publish, target: publication.topic, document: try publication.payload.resolve(value))
            deed.key = try publication.key?.text(value)
            for header in publication.headers {
                let text = try header.value.text(value)
                guard !text.utf8.contains(where: { $0 < 0x20 && $0 != 0x09 || $0 == 0x7F }) else {
                    throw .failed(message: "the header \(header.name) holds a line break or a control character")
                }
                deed.headers.append((header.name, text))
            }
            return deed
        case .start(let start):
            var deed = Deed(kind: .start, target: start.saga, document: try start.input.resolve(value))
            deed.key = try start.key?.text(value)
            return deed
        }
    }
}
