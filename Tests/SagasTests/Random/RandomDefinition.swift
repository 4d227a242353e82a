import Delivery
import Expressions
import Primitives
import Sagas

/// Draws saga definitions that the checker would accept, up to three levels deep, with little in each.
struct RandomDefinition {
    private(set) var random: SeededGenerator
    private var count = 0
    /// Ids of top-level steps that lead to the one being made: their outputs can be read.
    private var before: [String] = []
    private var hasPivot = false
    private var mayPivot: Bool

    static let input: JSON = ["yes": true, "no": false, "text": "x", "items": [1, 2, 3], "one": ["a"], "none": []]

    private init(_ random: SeededGenerator) {
        self.random = random
        mayPivot = self.random.chance(45)
    }

    static func draw(_ random: inout SeededGenerator) -> SagaDefinition {
        var drawing = RandomDefinition(random)
        let definition = drawing.definition()
        random = drawing.random
        return definition
    }

    private mutating func definition() -> SagaDefinition {
        let steps = steps(1 + random.below(4), depth: 1, isAlone: true)
        var definition = SagaDefinition(name: "random", version: 1, steps: steps, content: .null)
        if random.chance(25) { definition.timeout = random.pick([.seconds(2), .seconds(15), .seconds(60)]) }
        if random.chance(20) { definition.output = random.chance(10) ? Self.failing : .value(".steps") }
        for hook in SagaDefinition.Hook.allCases where random.chance(15) {
            definition.hooks[hook] = Publication(
                topic: "hook", payload: random.chance(20) ? Self.failing : Self.literal)
        }
        return definition
    }

    // MARK: - Steps

    /// - Parameter isAlone: not beside others, in parallel or in a loop: a pivot may stand there.
    private mutating func steps(_ count: Int, depth: Int, isAlone: Bool) -> [Step] {
        var steps: [Step] = []
        for _ in 0..<count {
            steps.append(step(depth: depth, isAlone: isAlone))
            if depth == 1, let last = steps.last { before.append(last.id) }
        }
        return steps
    }

    private mutating func step(depth: Int, isAlone: Bool) -> Step {
        let id = Self.ids[count]
        count += 1
        let becomesPivot = mayPivot && isAlone && !hasPivot && random.chance(45)
        // What follows the pivot is not undone.
        var step = drawn(id, depth: depth, isAlone: isAlone)
        if step.isUndoable, !hasPivot, random.chance(65) { step.compensation = compensation(id) }
        if random.chance(8) { step.condition = random.pick([Self.yes, Self.no, Self.items]) }
        if random.chance(1) { step.condition = Self.bad }
        if case .fail = step.action {
        } else if random.chance(8) {
            step.output = random.chance(15) ? Self.failing : .value(".output")
        }
        if case .call = step.action {
        } else if random.chance(10) {
            step.deadline = random.pick([.seconds(1), .seconds(20)])
        }
        if becomesPivot, step.mayBePivot {
            step.isPivot = true
            hasPivot = true
        }
        return step
    }

    private mutating func drawn(_ id: String, depth: Int, isAlone: Bool) -> Step {
        let containers = depth < 3 && count < 9
        switch random.below(containers ? 100 : 78) {
        case 0..<40: return call(id)
        case 40..<48: return sql(id)
        case 48..<52: return Self.publishing[id]!
        case 52..<56: return .set(id, value())
        case 56..<60: return .wait(id, random.pick([.zero, .seconds(1), .seconds(90)]))
        case 60..<65:
            return .await(
                id, random.pick(["e", "f"]),
                timeout: random.chance(50) ? random.pick([.seconds(2), .seconds(90)]) : nil,
                onTimeout: random.chance(40) ? .continue : .fail)
        case 65..<68: return .approve(id, timeout: random.chance(50) ? .seconds(20) : nil)
        case 68..<76:
            return .run(id, value())
        case 76..<78: return hasPivot ? .set(id, Self.literal) : .fail(id, "gave-up")
        case 78..<88:
            let onError: Parallel.OnError = random.chance(30) ? .wait : .abort
            var parallel = Parallel(branches: [])
            for branch in 0..<(2 + random.below(2)) {
                let steps = steps(1 + random.below(2), depth: depth + 1, isAlone: false)
                parallel.branches.append(Parallel.Branch(id: Self.branches[branch], steps: steps))
            }
            parallel.onError = onError
            return Step(id: id, action: .parallel(parallel))
        case 88..<94:
            var loop = Foreach(
                items: random.pick([Self.items, Self.items, Self.one, Self.none]), name: "item", steps: [])
            if random.chance(2) { loop.items = Self.yes }
            loop.limit = 1 + random.below(3)
            loop.steps = steps(1 + random.below(2), depth: depth + 1, isAlone: false)
            return Step(id: id, action: .foreach(loop))
        default:
            var choice = Switch(cases: [])
            // A pivot in one case counts for what follows all of them.
            for condition in [random.pick([Self.yes, Self.no]), nil] where condition != nil || random.chance(60) {
                let steps = steps(1 + random.below(2), depth: depth + 1, isAlone: isAlone)
                choice.cases.append(Switch.Case(condition: condition, steps: steps))
            }
            return Step(id: id, action: .choose(choice))
        }
    }

    private mutating func call(_ id: String) -> Step {
        var http = HTTPCall(method: .post, url: Self.url)
        if random.chance(50) { http.body = value() }
        http.isAsync = random.chance(25)
        var step = Step(id: id, action: .call(.http(http)))
        step.retry = policy()
        step.timeout =
            http.isAsync ? random.pick([.seconds(5), .seconds(60)]) : random.pick([.seconds(1), .seconds(30)])
        if random.chance(12) { step.deadline = random.pick([.seconds(2), .seconds(20)]) }
        return step
    }

    private mutating func sql(_ id: String) -> Step {
        var step = Step(id: id, action: .call(.sql(SQLCall(statement: "select 1", arguments: [Self.literal]))))
        step.retry = policy()
        return step
    }

    private mutating func compensation(_ id: String) -> Compensation {
        var compensation: Compensation
        switch random.below(10) {
        case 0: compensation = Compensation(action: .publish(Publication(topic: "undo", payload: value())))
        case 1: compensation = Compensation(action: .call(.sql(SQLCall(statement: "select 2", arguments: []))))
        default:
            var http = HTTPCall(method: .delete, url: Self.url)
            if random.chance(30) { http.body = random.chance(10) ? Self.failing : .value(".output") }
            http.isAsync = random.chance(10)
            compensation = Compensation(action: .call(.http(http)))
        }
        if random.chance(20) { compensation.when = .started }
        compensation.retry = policy()
        compensation.timeout = random.pick([.seconds(1), .seconds(30)])
        return compensation
    }

    private mutating func policy() -> RetryPolicy {
        var policy = RetryPolicy()
        policy.attempts = random.chance(3) ? .forever : .limited(1 + random.below(3))
        policy.initial = random.pick([.zero, .milliseconds(100), .seconds(1), .seconds(40)])
        policy.multiplier = random.pick([1, 2])
        policy.max = random.pick([.seconds(1), .seconds(30)])
        policy.jitter = random.pick(RetryPolicy.Jitter.allCases)
        if random.chance(10) { policy.maxElapsed = .seconds(3) }
        policy.retryAfterMax = random.pick([.seconds(2), .seconds(600)])
        return policy
    }

    private mutating func value() -> ValueTemplate {
        if random.chance(2) { return Self.failing }
        if let id = before.last, random.chance(30) { return Self.outputs[id]! }
        return Self.literal
    }

    // MARK: - Made once

    private static let ids = (0..<64).map { "s\($0)" }
    private static let branches = ["x", "y", "z"]
    private static let outputs = Dictionary(
        uniqueKeysWithValues: ids.map { ($0, ValueTemplate.value(".steps.\($0).output")) })
    private static let publishing = Dictionary(uniqueKeysWithValues: ids.map { ($0, Step.publish($0)) })
    private static let url = SagasTests.url("http://h/x")
    private static let literal = ValueTemplate.literal(1)
    private static let failing = ValueTemplate.value(".input.text.x")
    private static let yes = expression(".input.yes")
    private static let no = expression(".input.no")
    private static let bad = expression(".input.text.x")
    private static let items = expression(".input.items")
    private static let one = expression(".input.one")
    private static let none = expression(".input.none")
}

extension Step {
    fileprivate var isUndoable: Bool {
        switch action {
        case .call, .publish, .await, .approve, .set, .wait, .parallel, .foreach, .choose: true
        case .run, .fail: false
        }
    }

    fileprivate var mayBePivot: Bool {
        switch action {
        case .call, .publish, .await, .approve, .run, .set, .wait: true
        case .parallel, .foreach, .choose, .fail: false
        }
    }
}

extension SeededGenerator {
    /// From 0.
    mutating func below(_ limit: Int) -> Int { Int(truncatingIfNeeded: next() >> 33) % limit }
    mutating func chance(_ percent: Int) -> Bool { below(100) < percent }
    mutating func pick<Value>(_ values: [Value]) -> Value { values[below(values.count)] }
}
