import Postgres
import Primitives

extension Arguments {
    /// Lends a connection to the body. While the server refuses for a passing reason it is tried again until the timeout.
    ///
    /// - Parameter tellingNotices: whether the person is told what the server has to say beside its results.
    func withDatabase<T: Sendable>(
        tellingNotices: Bool = false, _ body: @escaping @Sendable (Connection) throws -> T
    ) async throws -> T {
        let limit = try duration("connect-timeout", default: .seconds(5))
        let url = self["database-url"] ?? ""
        var options = ConnectionOptions()
        options.applicationName = "outrider command"
        options.connectTimeout = limit
        if tellingNotices { options.onNotice = { complain("\($0.severity.lowercased()): \($0.message)") } }
        let session = Session(url, options: options)
        let end = ContinuousClock.now + limit
        var backoff = ReconnectBackoff()
        while true {
            do {
                let result = try await session.run(body)
                await session.close()
                return result
            } catch let error as PostgresError {
                guard case .cannotConnect(retryable: true) = error.kind, ContinuousClock.now < end else {
                    await session.close()
                    throw explained(error)
                }
                try await Task.sleep(for: min(backoff.next(), max(.zero, end - .now)))
            } catch {
                await session.close()
                throw error
            }
        }
    }

    private func explained(_ error: PostgresError) -> any Error {
        switch error.kind {
        case .cannotConnect:
            return CommandFailure(
                "cannot connect to the database: \(error.message); "
                    + (self["database-url"] == nil
                        ? "set OUTRIDER_DATABASE_URL or pass --database-url"
                        : "check the URL, the server and the credentials"))
        case .server(let state)
        where state == .undefinedTable || state == .invalidSchemaName
            || state.rawValue == "42883":
            return CommandFailure("\(error.message): the schema is missing or old; run `outrider migrate`")
        case .server(let state):
            let code = state.errorClass == "OR" ? "" : " (SQLSTATE \(state))"
            let detail = error.detail.map { "\n  \($0)" } ?? ""
            return CommandFailure(error.message + code + detail + (error.hint.map { "\n  \($0)" } ?? ""))
        case .connectionLost: return CommandFailure("the connection to the database was lost: \(error.message)")
        case .decoding: return error
        }
    }
}
