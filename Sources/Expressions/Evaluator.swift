package import Primitives
internal import Synchronization

/// Gives expressions their values: plain paths by our own code, everything else by jq in a process that is started when
/// it is first needed.
///
/// An expression that runs longer than its limit, takes more than 64 MB or crashes libjq costs that process, which is
/// replaced, and fails alone. It fails as well when its input or its value has an integer beyond 2^53, wherever in the
/// input that stands; plain paths keep every digit.
package final class Evaluator: Sendable {
    private let environment: [String: String]
    private let thread: EvaluationThread

    /// - Parameters:
    ///   - executable: the path of a program that calls `ExpressionWorker.serve()` when started with `arguments`.
    ///   - environment: what `$env` shows: the variables of `OUTRIDER_EXPOSE_ENV` and no others.
    ///   - timeLimit: of one evaluation; default 1 s.
    package init(
        executable: String, arguments: [String] = ["--expression-worker"], environment: [String: String] = [:],
        timeLimit: Duration = .seconds(1)
    ) {
        self.environment = environment
        let members = environment.sorted { $0.key < $1.key }.map { (name: $0.key, value: JSON.string($0.value)) }
        thread = EvaluationThread(
            executable: executable, arguments: arguments,
            environment: Array(JSON.object(JSONObject(members)).text.utf8),
            timeLimit: timeLimit)
    }

    deinit {
        thread.close()
    }

    /// Ends the process once the work at hand is done. Later work fails as `unavailable`.
    package func close() {
        thread.close()
    }

    /// Of the process for expressions; nil while none runs.
    package var processID: Int32? {
        let id = thread.processID.load(ordering: .relaxed)
        return id == 0 ? nil : id
    }

    package func evaluate(_ expression: Expression, input: JSON) async throws(ExpressionError) -> JSON {
        if let path = expression.path { return try path.resolve(in: input, environment: environment) }
        return try await evaluate(expression, input: Array(input.text.utf8))
    }

    /// - Parameter input: a JSON text.
    package func evaluate(_ expression: Expression, input: [UInt8]) async throws(ExpressionError) -> JSON {
        try await evaluate([(expression, input)])[0].get()
    }

    /// One result for each pair, in their order. One call for many evaluations costs one hop to the thread.
    package func evaluate(_ batch: [(Expression, [UInt8])]) async -> [Result<JSON, ExpressionError>] {
        let work = batch.compactMap { expression, input in
            expression.path == nil ? EvaluationThread.Work(program: expression.source, input: input) : nil
        }
        var outcomes = await thread.run(work)[...]
        return batch.map { expression, input in
            guard let path = expression.path else { return Self.json(outcomes.removeFirst()) }
            return resolve(path, in: input)
        }
    }

    /// Whether libjq compiles the expressions; nil for those that it does.
    package func check(_ expressions: [Expression]) async -> [ExpressionError?] {
        let work = expressions.compactMap { expression in
            expression.path == nil ? EvaluationThread.Work(program: expression.source, input: nil) : nil
        }
        var outcomes = await thread.run(work)[...]
        return expressions.map { expression in
            guard expression.path == nil, case .failure(let error) = outcomes.removeFirst() else { return nil }
            return error
        }
    }

    private func resolve(_ path: PlainPath, in input: [UInt8]) -> Result<JSON, ExpressionError> {
        do throws(JSONError) {
            let value = try JSON(parsing: input)
            return Result { () throws(ExpressionError) in try path.resolve(in: value, environment: environment) }
        } catch {
            return .failure(.failed(message: "the input is not JSON: \(error)"))
        }
    }

    private static func json(_ outcome: EvaluationThread.Outcome) -> Result<JSON, ExpressionError> {
        outcome.flatMap { bytes in
            do throws(JSONError) {
                return .success(try JSON(parsing: bytes))
            } catch {
                return .failure(.crashed("answered with something that is not JSON"))
            }
        }
    }
}
