import Expressions
import Postgres
import Primitives
import Schedules
import Store
import Synchronization
import Telemetry
import WorkflowFiles

/// Fires the schedules that this worker serves, on a thread and a connection of its own, which it has only while there are any.
/// All workers that serve one come when it is due, and the database lets the first one do it. So a firing waits for no leader,
/// and none is made twice.
final class Scheduler: Sendable {
    /// Changes are told; this is for those whose telling was lost.
    private static let longestSleep = Duration.seconds(30)
    /// A schedule that catches up lets others have their turn.
    private static let share = Duration.milliseconds(250)

    private struct Told: Sendable {
        var hasNews = false
        var stops = false
    }

    private let configuration: WorkerConfiguration
    private let health: WorkerHealth
    private let log: Log
    private let metrics: WorkerMetrics
    private let evaluation: ScheduleEvaluation
    private let told = Mutex(Told())
    private let wakeup = Wakeup()

    init(
        configuration: WorkerConfiguration, health: WorkerHealth, log: Log, metrics: WorkerMetrics,
        makeEvaluator: @escaping @Sendable () -> Evaluator
    ) {
        self.configuration = configuration
        self.health = health
        self.log = log
        self.metrics = metrics
        evaluation = ScheduleEvaluation(exposed: configuration.exposed, makeEvaluator: makeEvaluator)
    }

    // MARK: - From other threads

    /// The worker has a session, or definitions and pauses have changed.
    func reload() {
        told.withLock { $0.hasNews = true }
        wakeup.signal()
    }

    /// What is being fired is fired; what is due then is for others.
    func stop() {
        told.withLock { $0.stops = true }
        wakeup.signal()
    }

    // MARK: - The thread

    private var stops: Bool { told.withLock { $0.stops } }

    private var own: [String] { configuration.definitions.filter { $0.kind == .schedule }.map(\.name) }

    /// Runs until stopped; a lost connection is made anew. A worker that can have no schedules has no use for it.
    func run() {
        guard configuration.servesAll || !own.isEmpty else { return }
        defer { evaluation.close() }
        var backoff = ReconnectBackoff()
        while !stops {
            guard told.withLock({ $0.hasNews }) else {
                wakeup.wait(for: .seconds(3600))
                continue
            }
            do {
                try serve(try connect()) { backoff.reset() }
            } catch {
                guard !stops else { return }
                log.warning("schedules.interrupted", ["error": "\(error)"], limitPerSecond: 1)
                wakeup.wait(for: backoff.next())
            }
        }
    }

    private func connect() throws -> Connection {
        var options = ConnectionOptions()
        options.applicationName = "outrider \(configuration.name) schedules"
        options.statementTimeout = .seconds(60)
        options.settings =
            [
                ("jit", "off"), ("client_min_messages", "warning"),
                // Others may hold what one schedule needs, a saga's key for instance: all the others go on.
                ("lock_timeout", "1s"),
            ] + ConnectionOptions.sessionOfAWorker
        return try Connection(configuration.databaseURL, options: options)
    }

    /// Returns when stopped, and when there is nothing to serve.
    private func serve(_ connection: Connection, began: () -> Void) throws {
        let store = ScheduleStore(connection)
        var served: Set<Int32> = []
        var postponed: [String: ContinuousClock.Instant] = [:]
        while !stops {
            told.withLock { $0.hasNews = false }
            let (now, stored) = try store.schedules(named: configuration.servesAll ? nil : own)
            began()
            let schedules = able(stored)
            let ids = Set(schedules.map(\.stored.id))
            if ids != served {
                beginCounting(schedules)
                try store.serve(ids, insteadOf: served)
                served = ids
            }
            if schedules.isEmpty { return }
            var sleep = Self.longestSleep
            for request in try store.requests(for: schedules.map(\.stored.name)) {
                guard let schedule = schedules.first(where: { $0.stored.name == request.schedule }) else { continue }
                let pause = try attempt(schedule, &postponed) {
                    try fire(schedule, .request(request.id), at: request.at, store)
                }
                if let pause { sleep = min(sleep, pause) }
            }
            for schedule in schedules where !schedule.stored.isPaused {
                guard schedule.stored.due <= now else {
                    sleep = min(sleep, schedule.stored.due - now)
                    continue
                }
                // What is due after it, is told by the database.
                sleep = min(
                    sleep, try attempt(schedule, &postponed) { try takeTurn(schedule, now: now, store) } ?? .zero)
            }
            if sleep > .zero { wakeup.wait(for: sleep) }
        }
    }

    private typealias Schedule = (stored: ScheduleStore.Stored, definition: ScheduleDefinition)

    /// Those that this worker can serve.
    private func able(_ stored: [ScheduleStore.Stored]) -> [Schedule] {
        var lacking: [String] = []
        let schedules = stored.compactMap { stored -> Schedule? in
            do throws(DefinitionError) {
                let definition = try stored.definition.get()
                if let variable = evaluation.unexposed(definition) {
                    lacking.append(
                        "schedule \(stored.name) is not served: \(ExpressionError.unexposed(variable: variable))")
                    return nil
                }
                return (stored, definition)
            } catch {
                lacking.append("schedule \(stored.name) is not served: \(error)")
                return nil
            }
        }
        if lacking != health.current.lackingSchedules {
            for reason in lacking { log.error("schedule.not_served", ["reason": reason]) }
            health.update { [lacking] in $0.lackingSchedules = lacking }
        }
        return schedules
    }

    /// Does something for a schedule. What fails for the moment's sake is tried again in a second, and others go on.
    ///
    /// - Returns: when to come again with what could not be done; nil when it was.
    private func attempt(
        _ schedule: Schedule, _ postponed: inout [String: ContinuousClock.Instant], _ body: () throws -> Void
    ) throws -> Duration? {
        let name = schedule.stored.name
        let now = ContinuousClock.now
        if let until = postponed[name], until > now { return until - now }
        postponed[name] = nil
        do {
            try body()
            return nil
        } catch let error as PostgresError where error.sqlState != nil {
            log.warning("schedule.postponed", ["schedule": name, "error": error.message], limitPerSecond: 1)
        } catch let error as ScheduleEvaluation.Unavailable {
            log.error("schedule.postponed", ["schedule": name, "error": error.reason], limitPerSecond: 1)
        }
        postponed[name] = now + .seconds(1)
        return .seconds(1)
    }

    /// At zero, so that a rate sees the first one.
    private func beginCounting(_ schedules: [Schedule]) {
        for schedule in schedules {
            for outcome in ["fired", "failed", "missed"] { _ = metrics.scheduleFirings(schedule.stored.name, outcome) }
        }
    }

    // MARK: - Firing

    private func takeTurn(_ schedule: Schedule, now: Timestamp, _ store: ScheduleStore) throws {
        let stored = schedule.stored
        let turn = schedule.definition.recurrence.turn(due: stored.due, now: now, resumed: stored.resumed)
        guard !turn.firings.isEmpty else {
            if try store.advance(stored, to: turn.next), turn.leavesOut { leftOut(stored, through: now) }
            return
        }
        let ends = ContinuousClock.now + Self.share
        var due = stored.due
        for (index, instant) in turn.firings.enumerated() {
            let next = index + 1 < turn.firings.count ? turn.firings[index + 1] : turn.next
            guard try fire(schedule, .due(due, next: next), at: instant, store) else { return }
            if index == 0, turn.leavesOut { leftOut(stored, through: now) }
            due = next
            if stops || ContinuousClock.now > ends { return }
        }
    }

    private func leftOut(_ schedule: ScheduleStore.Stored, through now: Timestamp) {
        metrics.scheduleFirings(schedule.name, "missed").increment()
        log.warning(
            "schedule.missed",
            ["schedule": schedule.name, "from": schedule.due.rfc3339, "through": now.rfc3339])
    }

    /// False when it was not for this worker to do.
    @discardableResult
    private func fire(
        _ schedule: Schedule, _ occasion: ScheduleStore.Occasion, at instant: Timestamp, _ store: ScheduleStore
    ) throws -> Bool {
        let name = schedule.stored.name
        var outcome: ScheduleStore.Outcome
        do {
            outcome = try store.fire(
                schedule.stored, occasion, at: instant, try evaluation.deed(schedule.definition, at: instant),
                worker: configuration.name)
        } catch let error as PostgresError where error.isOfContent {
            // The database cannot even read it.
            outcome = try store.fire(
                schedule.stored, occasion, at: instant, .failure(ScheduleFailure(error.message.storable)),
                worker: configuration.name)
        }
        switch outcome {
        case .taken: return false
        case .fired(let id):
            metrics.scheduleFirings(name, "fired").increment()
            log.info(
                "schedule.fired",
                ["schedule": name, "scheduled_at": instant.rfc3339, "id": id.map { "\($0)" } ?? ""])
        case .failed(let reason):
            metrics.scheduleFirings(name, "failed").increment()
            log.error("schedule.failed", ["schedule": name, "scheduled_at": instant.rfc3339, "error": reason])
        }
        return true
    }
}

extension PostgresError {
    /// Data exceptions, violated constraints, limits: the same content would be refused again.
    fileprivate var isOfContent: Bool {
        guard let state = sqlState else { return false }
        return ["22", "23", "54"].contains(state.errorClass)
    }
}
