import Delivery
import Expressions
import HTTPClient
import Postgres
import Primitives
import Sagas
import Store
import Synchronization
import Telemetry
import WorkflowFiles

/// Targets that are statements: each delivery is one transaction on a connection of its own.
extension Dispatcher {
    /// Fills the lane's room from its buffer.
    func pumpStatements(_ id: Int32, _ state: inout State, _ now: ContinuousClock.Instant) {
        while let (request, delivery, message) = takeNext(id, &state, now) {
            let lane = state.lanes[id]!
            guard let statement = lane.route.statement else { preconditionFailure("the lane has no statement") }
            let pool = pool(of: lane, &state)
            let evaluator = evaluator(of: id, &state)
            Task {
                let end = await run(statement, delivery, message, lane.route, pool, evaluator)
                completed(request, end)
            }
        }
    }

    private func pool(of lane: Lane, _ state: inout State) -> StatementPool {
        // As many as the file allows: this worker's share of that comes and goes.
        guard case .atMost(let most) = lane.route.concurrency else {
            preconditionFailure("the checker refuses statements with concurrency: auto")
        }
        let connections = min(most, limit)
        if let pool = state.pools[lane.id], pool.connections == connections { return pool }
        let pool = makePool(connections)
        state.pools[lane.id] = pool
        return pool
    }

    /// How a delivery ended.
    private enum End: Sendable {
        /// It is recorded already: in the transaction of its statement, or by whoever has it now.
        case recorded(outcome: String, FinishedTry?)
        case toRecord(FinishedTry)
    }

    private func run(
        _ statement: Route.Statement, _ delivery: ClaimedDelivery, _ message: ClaimedDelivery.Message, _ route: Route,
        _ pool: StatementPool, _ evaluator: Evaluator
    ) async -> End {
        let arguments: [JSON]
        switch await values(of: statement, delivery, message, evaluator) {
        case .success(let values): arguments = values
        case .failure(.unavailable(let reason)):
            // Not the message's fault: another moment, or another worker.
            log.error("arguments.unavailable", ["reason": reason], limitPerSecond: 1)
            return .toRecord(.notSent(delivery, "cancelled", .again(after: .seconds(1), attempts: delivery.attempts)))
        case .failure(let error):
            return .toRecord(
                .notSent(
                    delivery, "failed", .dead(reason: DeliveryMachine.Reason.expression.rawValue),
                    error: "argument: \(error)", isRecorded: true))
        }
        let transaction = StatementDelivery(
            delivery, ForeignStatement(statement.text, arguments: arguments, timeout: route.timeout),
            isRecorded: route.recordsAll, reply: ReplyAddress(headers: message.headers), worker: worker)
        let began = ContinuousClock.now
        switch await pool.lend({ transaction.run(on: $0) }) {
        case .value(.done(let took)): return done(delivery, message, route, took: took)
        case .value(.lost): return .recorded(outcome: "late", nil)
        case .value(.refused(let error)):
            // Of what was cancelled nothing has happened.
            guard !pool.isCancelled else { return .toRecord(cancelled(delivery)) }
            let outcome = TryOutcome(
                sqlState: error.sqlState?.rawValue ?? "", message: error.description, policy: route.machine.policy)
            return .toRecord(
                finished(
                    delivery, outcome, status: nil, took: ContinuousClock.now - began, route, databaseTime))
        case .value(.unclear): return await lookedUp(transaction, message, route, pool)
        case .stopped: return .toRecord(cancelled(delivery))
        case .failed(let reason):
            log.error(
                "statement.no_session", ["subscription": route.subscription, "reason": reason], limitPerSecond: 1)
            return .toRecord(cancelled(delivery, after: .seconds(1)))
        }
    }

    /// The connection went, maybe after the commit: the queue tells.
    private func lookedUp(
        _ transaction: StatementDelivery, _ message: ClaimedDelivery.Message, _ route: Route, _ pool: StatementPool
    ) async -> End {
        let delivery = transaction.delivery
        var backoff = ReconnectBackoff()
        while true {
            switch await pool.lend({ try transaction.isThere(on: $0) }) {
            case .value(true): return .toRecord(cancelled(delivery, after: .milliseconds(100)))
            case .value(false): return done(delivery, message, route, took: .zero)
            // Whoever records this finds the row, or does not.
            case .stopped: return .toRecord(cancelled(delivery))
            case .failed: break
            }
            // With its session this worker has lost the delivery: others take it over, if it is still there.
            guard state.withLock({ $0.token }) == delivery.owner else { return .recorded(outcome: "late", nil) }
            try? await Task.sleep(for: backoff.next())
        }
    }

    private func cancelled(_ delivery: ClaimedDelivery, after delay: Duration = .zero) -> FinishedTry {
        .notSent(delivery, "cancelled", .again(after: delay, attempts: delivery.attempts))
    }

    private func done(
        _ delivery: ClaimedDelivery, _ message: ClaimedDelivery.Message, _ route: Route, took: Duration
    ) -> End {
        .recorded(
            outcome: "succeeded", finished(delivery, .succeeded, status: nil, took: took, route, databaseTime))
    }

    private var databaseTime: Timestamp { .now() + state.withLock { $0.clockOffset } }

    private func values(
        of statement: Route.Statement, _ delivery: ClaimedDelivery, _ message: ClaimedDelivery.Message,
        _ evaluator: Evaluator
    ) async -> Result<[JSON], ExpressionError> {
        let expressions = statement.arguments.flatMap(\.expressions)
        let input = expressions.isEmpty ? [] : delivery.argumentInput
        var values: [Expression: JSON] = [:]
        for (expression, result) in zip(expressions, await evaluator.evaluate(expressions.map { ($0, input) })) {
            switch result {
            case .success(let value):
                guard let storable = value.storable else {
                    return .failure(.failed(message: "\(expression) holds a number that PostgreSQL cannot keep"))
                }
                values[expression] = storable
            case .failure(let error): return .failure(error)
            }
        }
        return Result { () throws(ExpressionError) in
            var arguments: [JSON] = []
            for argument in statement.arguments { arguments.append(try argument.resolve { values[$0] ?? .null }) }
            return arguments
        }
    }

    private func completed(_ request: UInt64, _ end: End) {
        let requests = state.withLock { state in
            guard let sent = state.sent.removeValue(forKey: request), let lane = state.lanes[sent.lane] else {
                return [HTTPRequest]()
            }
            let now = ContinuousClock.now
            switch end {
            case .toRecord(let result): self.end(result, sent.lane, &state, now)
            case .recorded(let outcome, let result):
                state.lanes[sent.lane]?.ended(now: now)
                // The next message of its key may be ready.
                if sent.delivery.isKeyed { state.lanes[sent.lane]?.polling.woken() }
                metrics.deliveries(lane.route.subscription, outcome).increment()
                if let result { metrics.handlerDuration(lane.route.subscription).observe(result.duration) }
            }
            if state.sent.count + 1 >= limit { return pumpAll(&state, now) }
            var requests: [HTTPRequest] = []
            pump(sent.lane, &state, now, into: &requests)
            return requests
        }
        submit(requests)
        wakeup.signal()
    }

    /// Ends the statements that are under way; nothing of them happens.
    func cancelStatements() {
        for pool in state.withLock({ Array($0.pools.values) }) { pool.cancelAll() }
    }

    /// Also waits for them.
    func closeStatements() async {
        for pool in state.withLock({ Array($0.pools.values) }) { await pool.close() }
    }
}

extension ClaimedDelivery {
    /// What an argument sees: `.payload .topic .key .headers .id .attempt`.
    fileprivate var argumentInput: [UInt8] {
        var input = filterInput.dropLast()
        input += #","id":"\#(messageID)","attempt":\#(attempts + 1)}"#.utf8
        return Array(input)
    }
}
