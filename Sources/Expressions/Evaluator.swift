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

    /// Whether libjq compiles the expressions; nil for those that it does. When a hundred have failed, the rest is not tried.
    package func check(_ expressions: [Expression]) async -> [ExpressionError?] {
        var seen: Set<String> = []
        let sources = expressions.filter { $0.path == nil && seen.insert($0.source).inserted }.map(\.source)
        var errors: [String: ExpressionError] = [:]
        for start in stride(from: 0, to: sources.count, by: Self.checkedTogether) where errors.count < 100 {
            await check(sources[start..<min(start + Self.checkedTogether, sources.count)], &errors)
        }
        return expressions.map { $0.path == nil ? errors[$0.source] : nil }
    }

    /// libjq compiles its library of functions with each program, which takes 20 ms; so many expressions are compiled as one,
    /// and by halves when that fails.
    private static let checkedTogether = 128

    private func check(_ sources: ArraySlice<String>, _ errors: inout [String: ExpressionError]) async {
        // A comment in one ends at the line end. What brackets one opens it closes: the lexer has seen to it.
        let program =
            sources.count == 1 ? sources[sources.startIndex] : sources.map { "(\($0)\n)" }.joined(separator: ",")
        guard case .failure(let error) = await thread.run([EvaluationThread.Work(program: program, input: nil)])[0]
        else { return }
        guard sources.count > 1 else {
            errors[program] = error
            return
        }
        let middle = sources.startIndex + sources.count / 2
        await check(sources[..<middle], &errors)
        await check(sources[middle...], &errors)
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
