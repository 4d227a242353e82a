import Delivery
import Expressions
import Primitives
import Sagas

/// Definitions in a few words: `.call("charge").undone().retried(3)`.
extension Step {
    func with(_ change: (inout Step) -> Void) -> Step {
        var step = self
        change(&step)
        return step
    }

    // MARK: - Kinds

    /// `POST http://h/<id>`, tried once.
    static func call(_ id: String, body: ValueTemplate? = nil, isAsync: Bool = false) -> Step {
        var http = HTTPCall(method: .post, url: url("http://h/\(id)"))
        http.body = body
        http.isAsync = isAsync
        return Step(id: id, action: .call(.http(http))).retried(1)
    }

    static func asyncCall(_ id: String) -> Step { call(id, isAsync: true) }

    static func sql(_ id: String, _ arguments: ValueTemplate...) -> Step {
        Step(id: id, action: .call(.sql(SQLCall(statement: "select \(id)()", arguments: arguments)))).retried(1)
    }

    static func publish(_ id: String, _ payload: ValueTemplate = .literal(.null)) -> Step {
        Step(id: id, action: .publish(Publication(topic: id, payload: payload)))
    }

    static func set(_ id: String, _ value: ValueTemplate) -> Step { Step(id: id, action: .set(value)) }

    static func fail(_ id: String, _ type: String, detail: String? = nil) -> Step {
        var fail = Fail(type: type)
        fail.detail = detail.map(template)
        return Step(id: id, action: .fail(fail))
    }

    static func wait(_ id: String, _ time: Duration) -> Step { Step(id: id, action: .wait(.duration(time))) }

    static func await(_ id: String, _ event: String, timeout: Duration? = nil, onTimeout: Await.OnTimeout = .fail)
        -> Step
    {
        var waiting = Await(event: event)
        waiting.timeout = timeout
        waiting.onTimeout = onTimeout
        return Step(id: id, action: .await(waiting))
    }

    static func approve(_ id: String, timeout: Duration? = nil) -> Step {
        var approval = Approve(prompt: template("Really?"))
        approval.timeout = timeout
        return Step(id: id, action: .approve(approval))
    }

    static func run(_ id: String, _ input: ValueTemplate = .literal(.null), key: String? = nil) -> Step {
        var run = Run(saga: "child", input: input)
        run.key = key.map(template)
        return Step(id: id, action: .run(run))
    }

    /// Branches are called `b0`, `b1`, …
    static func parallel(_ id: String, onError: Parallel.OnError = .abort, _ branches: [Step]...) -> Step {
        var parallel = Parallel(
            branches: branches.enumerated().map { Parallel.Branch(id: "b\($0.offset)", steps: $0.element) })
        parallel.onError = onError
        return Step(id: id, action: .parallel(parallel))
    }

    static func foreach(_ id: String, in items: String, as name: String, limit: Int = 1, _ steps: Step...) -> Step {
        var loop = Foreach(items: expression(items), name: name, steps: steps)
        loop.limit = limit
        return Step(id: id, action: .foreach(loop))
    }

    static func choose(_ id: String, _ cases: (when: String?, steps: [Step])...) -> Step {
        Step(
            id: id,
            action: .choose(
                Switch(cases: cases.map { Switch.Case(condition: $0.when.map(expression), steps: $0.steps) })))
    }

    // MARK: - Options

    /// By `DELETE http://h/<id>`, tried once.
    func undone(_ when: Compensation.When = .succeeded, body: ValueTemplate? = nil, attempts: Int = 1) -> Step {
        with { step in
            var http = HTTPCall(method: .delete, url: url("http://h/\(id)"))
            http.body = body
            var compensation = Compensation(action: .call(.http(http)))
            compensation.when = when
            compensation.retry = .plain(attempts)
            step.compensation = compensation
        }
    }

    func undoneByMessage() -> Step {
        with { $0.compensation = Compensation(action: .publish(Publication(topic: "un\(id)", payload: .literal(1)))) }
    }

    func retried(_ attempts: Int, _ change: (inout RetryPolicy) -> Void = { _ in }) -> Step {
        with { step in
            step.retry = .plain(attempts)
            change(&step.retry)
        }
    }

    func `if`(_ condition: String) -> Step { with { $0.condition = expression(condition) } }
    func pivot() -> Step { with { $0.isPivot = true } }
    func deadline(_ time: Duration) -> Step { with { $0.deadline = time } }
    func timeout(_ time: Duration) -> Step { with { $0.timeout = time } }
    func giving(_ output: ValueTemplate) -> Step { with { $0.output = output } }
}

extension RetryPolicy {
    /// Without jitter: 500 ms, 1 s, 2 s, …
    static func plain(_ attempts: Int) -> RetryPolicy {
        var policy = RetryPolicy()
        policy.attempts = .limited(attempts)
        policy.jitter = .none
        return policy
    }
}

extension ValueTemplate {
    /// One expression.
    static func value(_ source: String) -> ValueTemplate { .text(template("${ \(source) }")) }
}

func expression(_ source: String) -> Expression {
    do { return try Expression(source) } catch { preconditionFailure("\(source): \(error)") }
}

func template(_ source: String) -> Template {
    do { return try Template(source) } catch { preconditionFailure("\(source): \(error)") }
}

func url(_ source: String) -> URLTemplate { URLTemplate(template(source), isPath: false) }
