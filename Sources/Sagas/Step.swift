package import Delivery
package import Expressions
import Primitives

/// One step of a saga.
package struct Step: Sendable, Hashable {
    package static let defaultTimeout = Duration.seconds(30)

    /// Unique within the saga: `[a-z][a-z0-9_]*`.
    package var id: String
    package var action: Action
    /// `if:`; the step is skipped when it yields false or null.
    package var condition: Expression?
    package var retry = RetryPolicy()
    /// Of one try of a call; of an async one until its callback. Default 30 s.
    package var timeout: Duration = defaultTimeout
    /// Of the whole step: its tries and the waits between them, what it waits for, the steps inside. Default none but the saga's
    /// timeout.
    package var deadline: Duration?
    package var compensation: Compensation?
    /// The point of no return: once it has succeeded, the rest only goes forward.
    package var isPivot = false
    /// Reshapes what is recorded as the step's output; sees `.output`, what the step itself gave.
    package var output: ValueTemplate?

    package init(id: String, action: Action) {
        self.id = id
        self.action = action
    }
}

/// What a step does: exactly one of these.
package enum Action: Sendable, Hashable {
    case call(Call)
    case publish(Publication)
    case parallel(Parallel)
    case foreach(Foreach)
    case choose(Switch)
    case wait(Wait)
    case await(Await)
    case approve(Approve)
    case run(Run)
    case set(ValueTemplate)
    case fail(Fail)

    /// The steps that it contains.
    package var children: [Step] {
        switch self {
        case .parallel(let parallel): parallel.branches.flatMap(\.steps)
        case .foreach(let loop): loop.steps
        case .choose(let choice): choice.cases.flatMap(\.steps)
        case .call, .publish, .wait, .await, .approve, .run, .set, .fail: []
        }
    }
}

/// How a step is undone.
package struct Compensation: Sendable, Hashable {
    package enum When: String, Sendable, Hashable, CaseIterable {
        /// The step succeeded, or may have: default.
        case succeeded
        /// The step was sent at all, whatever the answer.
        case started
    }

    package enum Action: Sendable, Hashable {
        case call(Call)
        case publish(Publication)
    }

    package var when = When.succeeded
    package var action: Action
    package var retry = RetryPolicy()
    /// Of one try. Default 30 s.
    package var timeout: Duration = Step.defaultTimeout

    package init(action: Action) {
        self.action = action
    }
}

// MARK: - Calls and messages

package enum Call: Sendable, Hashable {
    case http(HTTPCall)
    case sql(SQLCall)
}

package struct HTTPCall: Sendable, Hashable {
    package struct Header: Sendable, Hashable {
        package var name: String
        package var value: Template

        package init(name: String, value: Template) {
            self.name = name
            self.value = value
        }
    }

    package var method: HTTPMethod
    package var url: URLTemplate
    /// The name of an endpoint document; then `url` is a path.
    package var endpoint: String?
    package var headers: [Header] = []
    /// Nil sends no body.
    package var body: ValueTemplate?
    /// The outcome comes by callback.
    package var isAsync = false

    package init(method: HTTPMethod, url: URLTemplate) {
        self.method = method
        self.url = url
    }
}

/// One statement in Outrider's own database, in one transaction with the saga's transition.
package struct SQLCall: Sendable, Hashable {
    package var statement: String
    /// The values of `$1`, `$2`, …
    package var arguments: [ValueTemplate]

    package init(statement: String, arguments: [ValueTemplate]) {
        self.statement = statement
        self.arguments = arguments
    }
}

/// A message that is written to the outbox together with the transition.
package struct Publication: Sendable, Hashable {
    package var topic: String
    package var key: Template?
    package var payload: ValueTemplate
    package var headers: [HTTPCall.Header] = []

    package init(topic: String, payload: ValueTemplate) {
        self.topic = topic
        self.payload = payload
    }
}

// MARK: - Structure

package struct Parallel: Sendable, Hashable {
    package struct Branch: Sendable, Hashable {
        package var id: String
        package var steps: [Step]

        package init(id: String, steps: [Step]) {
            self.id = id
            self.steps = steps
        }
    }

    package enum OnError: String, Sendable, Hashable, CaseIterable {
        /// The first failure aborts the saga: default.
        case abort
        /// The other branches go on to their ends first.
        case wait
    }

    package var branches: [Branch]
    package var onError = OnError.abort

    package init(branches: [Branch]) {
        self.branches = branches
    }
}

package struct Foreach: Sendable, Hashable {
    package static let mostItems = 1000

    /// Yields an array.
    package var items: Expression
    /// What an iteration's expressions call the item.
    package var name: String
    /// Iterations at once. Default 1.
    package var limit = 1
    package var steps: [Step]

    package init(items: Expression, name: String, steps: [Step]) {
        self.items = items
        self.name = name
        self.steps = steps
    }
}

package struct Switch: Sendable, Hashable {
    package struct Case: Sendable, Hashable {
        /// Nil is `otherwise`, which stands last.
        package var condition: Expression?
        package var steps: [Step]

        package init(condition: Expression?, steps: [Step]) {
            self.condition = condition
            self.steps = steps
        }
    }

    package var cases: [Case]

    package init(cases: [Case]) {
        self.cases = cases
    }
}

// MARK: - Waiting

package enum Wait: Sendable, Hashable {
    case duration(Duration)
    /// Yields an RFC 3339 time.
    case until(Expression)
}

package struct Await: Sendable, Hashable {
    package enum OnTimeout: String, Sendable, Hashable, CaseIterable {
        /// Default.
        case fail
        /// Goes on with the output null.
        case `continue`
    }

    package var event: String
    /// Default none but the saga's timeout.
    package var timeout: Duration?
    package var onTimeout = OnTimeout.fail

    package init(event: String) {
        self.event = event
    }
}

/// A person decides: answered by an event with the step's id and `{"approved": true}` or `{"approved": false}`.
package struct Approve: Sendable, Hashable {
    package var prompt: Template
    package var timeout: Duration?

    package init(prompt: Template) {
        self.prompt = prompt
    }
}

// MARK: - The rest

/// A sub-saga. It stays compensatable until this saga ends.
package struct Run: Sendable, Hashable {
    package var saga: String
    package var input: ValueTemplate
    package var key: Template?

    package init(saga: String, input: ValueTemplate) {
        self.saga = saga
        self.input = input
    }
}

package struct Fail: Sendable, Hashable {
    package var type: String
    package var detail: Template?

    package init(type: String) {
        self.type = type
    }
}
