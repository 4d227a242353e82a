import Delivery
import Expressions
import Plans
import Primitives
import Sagas
import Synchronization

/// Sagas of every shape, the same for the same seed.
struct RandomSaga {
    private var random: SplitMix
    private var count = 0

    static let seeds: [UInt64] = Array(1...100)
    /// By seed, made once.
    private static let plans = Mutex<[UInt64: (plan: SagaPlan, layout: PlanLayout)]>([:])

    static func plan(seed: UInt64) throws -> (plan: SagaPlan, layout: PlanLayout) {
        if let made = plans.withLock({ $0[seed] }) { return made }
        let plan = SagaPlan(try saga(seed: seed))
        let made = (plan: plan, layout: plan.layout)
        plans.withLock { $0[seed] = made }
        return made
    }

    private static func saga(seed: UInt64) throws -> SagaDefinition {
        var maker = RandomSaga(random: SplitMix(state: seed))
        var saga = Samples.saga(try maker.steps(depth: 0, mayPivot: true))
        saga.about = maker.chance(2) ? maker.words(20) : nil
        return saga
    }

    private func words(_ count: Int) -> String {
        (0..<count).map { "\($0)&<\"'日本" }.joined(separator: " ")
    }

    private mutating func chance(_ sides: Int) -> Bool { Int.random(in: 0..<sides, using: &random) == 0 }

    private mutating func steps(depth: Int, mayPivot: Bool) throws -> [Step] {
        let most = depth == 0 ? 6 : 3
        var steps: [Step] = []
        for _ in 0..<Int.random(in: 1...most, using: &random) {
            steps.append(try step(depth: depth, mayPivot: mayPivot))
        }
        if mayPivot, chance(4) { steps[Int.random(in: 0..<steps.count, using: &random)].isPivot = true }
        return steps
    }

    private mutating func step(depth: Int, mayPivot: Bool) throws -> Step {
        count += 1
        var id = "step_\(count)"
        if chance(5) { id += String(repeating: "_with_a_long_name", count: Int.random(in: 1...9, using: &random)) }
        var step = Step(id: id, action: try action(depth: depth, mayPivot: mayPivot))
        if chance(5) { step.condition = try Expression(#".input.kind == "x<&>\"y" and (.input.list | length > 3)"#) }
        if chance(6) { step.output = Samples.text("${ .output }") }
        if chance(2) {
            let url = "https://undo.example" + String(repeating: "/part", count: Int.random(in: 0...40, using: &random))
            step.compensation = try Samples.compensation(.delete, url)
            if chance(3) { step.compensation?.when = .started }
        }
        return step
    }

    private mutating func action(depth: Int, mayPivot: Bool) throws -> Action {
        switch Int.random(in: 0..<(depth < 3 ? 12 : 8), using: &random) {
        case 0: return .publish(Publication(topic: "a.b", payload: Samples.text("${ .input }")))
        case 1: return .wait(.duration(.seconds(90)))
        case 2: return .await(Await(event: "paid"))
        case 3: return .approve(Approve(prompt: try Template("\"Yes\" or `no`; #1? " + words(6))))
        case 4: return .run(Run(saga: "other", input: .literal([:])))
        case 5: return .set(.object([Samples.member("a", "${ .input }")]))
        case 6 where chance(3): return .fail(Fail(type: "no"))
        case 6, 7: return try Samples.call(.post, "https://a.example/\\x?a=b#c|d", id: "").action
        case 8, 9:
            var branches: [Parallel.Branch] = []
            for index in 0..<Int.random(in: 1...4, using: &random) {
                branches.append(
                    Parallel.Branch(id: "branch_\(index)", steps: try steps(depth: depth + 1, mayPivot: false)))
            }
            var parallel = Parallel(branches: branches)
            if chance(2) { parallel.onError = .wait }
            return .parallel(parallel)
        case 10:
            let items = try Expression(".input.items | map(select(.quantity > 0))")
            var loop = Foreach(items: items, name: "item", steps: try steps(depth: depth + 1, mayPivot: false))
            if chance(2) { loop.limit = 4 }
            return .foreach(loop)
        default:
            var cases: [Switch.Case] = []
            for index in 0..<Int.random(in: 1...4, using: &random) {
                let inner = chance(4) ? [] : try steps(depth: depth + 1, mayPivot: mayPivot)
                cases.append(Switch.Case(condition: try Expression(".input.x == \(index)"), steps: inner))
            }
            if chance(2) {
                cases.append(Switch.Case(condition: nil, steps: try steps(depth: depth + 1, mayPivot: mayPivot)))
            }
            return .choose(Switch(cases: cases))
        }
    }
}

/// Steele, Lea and Flood, "Fast splittable pseudorandom number generators" (OOPSLA 2014).
private struct SplitMix: RandomNumberGenerator {
    var state: UInt64

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var z = state
        z = (z ^ (z >> 30)) &* 0xBF58_476D_1CE4_E5B9
        z = (z ^ (z >> 27)) &* 0x94D0_49BB_1331_11EB
        return z ^ (z >> 31)
    }
}
