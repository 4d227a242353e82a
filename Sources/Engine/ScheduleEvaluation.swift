import Expressions
import Postgres
import Primitives
import Schedules
import Store
import Synchronization
import WorkflowFiles

/// Gives the expressions of schedules their values: plain paths at once, others by jq in a child process that is started when it
/// is first needed.
final class ScheduleEvaluation: Sendable {
    /// No process for expressions could be started: that is no fault of the expression's.
    struct Unavailable: Error {
        let reason: String
    }

    private final class Answer: Sendable {
        let results = Mutex<[Result<JSON, ExpressionError>]?>(nil)
        let arrived = Wakeup()
    }

    private let exposed: [String: String]
    private let makeEvaluator: @Sendable () -> Evaluator
    private let evaluator = Mutex<Evaluator?>(nil)

    init(exposed: [String: String], makeEvaluator: @escaping @Sendable () -> Evaluator) {
        self.exposed = exposed
        self.makeEvaluator = makeEvaluator
    }

    func close() {
        evaluator.withLock { $0.take() }?.close()
    }

    /// A variable that a schedule needs and this worker does not show; nil when there is none.
    func unexposed(_ definition: ScheduleDefinition) -> String? {
        for expression in definition.expressions {
            if case .member(let name) = expression.path.flatMap({ $0.root == .environment ? $0.segments.first : nil }),
                exposed[name] == nil
            {
                return name
            }
        }
        return nil
    }

    /// What a firing is to do, or why that cannot be said. Blocks the thread while jq works.
    ///
    /// - Throws: `Unavailable`.
    func deed(
        _ definition: ScheduleDefinition, at instant: Timestamp
    ) throws -> Result<ScheduleDefinition.Deed, ScheduleFailure> {
        let scope = ScheduleDefinition.scope(instant)
        let computed = Array(Set(definition.expressions.filter { $0.path == nil }))
        let results = computed.isEmpty ? [] : evaluate(computed, scope)
        for case .failure(.unavailable(let reason)) in results { throw Unavailable(reason: reason) }
        let values = Dictionary(uniqueKeysWithValues: zip(computed, results))
        do throws(ExpressionError) {
            return .success(
                try definition.deed { (expression) throws(ExpressionError) in
                    let value =
                        if let path = expression.path { try path.resolve(in: scope, environment: exposed) } else {
                            try values[expression]?.get() ?? .null
                        }
                    guard let storable = value.storable else {
                        throw .failed(message: "the value holds a number that PostgreSQL cannot keep")
                    }
                    return storable
                })
        } catch {
            return .failure(ScheduleFailure("expression: \("\(error)".storable)"))
        }
    }

    private func evaluate(_ expressions: [Expression], _ scope: JSON) -> [Result<JSON, ExpressionError>] {
        let evaluator = evaluator.withLock { evaluator in
            let current = evaluator ?? makeEvaluator()
            evaluator = current
            return current
        }
        let answer = Answer()
        let input = Array(scope.text.utf8)
        Task {
            let results = await evaluator.evaluate(expressions.map { ($0, input) })
            answer.results.withLock { $0 = results }
            answer.arrived.signal()
        }
        while true {
            if let results = answer.results.withLock({ $0 }) { return results }
            answer.arrived.wait(for: .seconds(3600))
        }
    }
}
