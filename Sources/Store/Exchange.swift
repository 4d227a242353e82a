package import Postgres
package import Primitives

/// One round trip of a worker with its queue: what is finished goes in, what is to be sent comes out, in one transaction.
///
/// Acknowledging and claiming share a commit, so that a busy worker writes one for some hundred messages.
package struct Exchange {
    package var finished: [FinishedTry] = []
    package var requests: [ClaimRequest] = []
    /// Subscriptions whose sleep lock to give back, and to try for, before the claim.
    package var wake: [Int32] = []
    package var sleep: [Int32] = []
    /// Subscriptions that have more than this worker can take: calls the others.
    package var help: [Int32] = []
    /// Whether to tell the leading worker that something is due soon.
    package var tellsOfDue = false
    /// Whether to read the horizon of transactions, for the floor.
    package var readsHorizon = false

    package init() {}

    package struct Outcome: Sendable {
        package var claimed: [ClaimedDelivery] = []
        package var horizon: Horizon?
        package var sleepAttempts: [SleepAttempt] = []
        /// Results that came too late: the delivery was somebody else's by then, or nobody's.
        package var late = 0
    }

    /// What the floor is computed from; see `Floor`.
    package struct Horizon: Sendable, Hashable {
        /// Every transaction below it has ended.
        package var oldestRunning: UInt64
        /// Above every transaction that had begun to write; nil when the reading could not tell, having no number of its own.
        /// The snapshot's own upper bound does not serve: it is one above the newest transaction that *ended*.
        package var next: UInt64?
        /// The newest id that was drawn.
        package var newestID: Int64

        package init(oldestRunning: UInt64, next: UInt64?, newestID: Int64) {
            self.oldestRunning = oldestRunning
            self.next = next
            self.newestID = newestID
        }
    }

    package struct SleepAttempt: Sendable {
        package let subscription: Int32
        package let isHeld: Bool
        /// Another worker sleeps on it: publishers notify that one.
        package let isHeldByOther: Bool
    }

    /// - Parameters:
    ///   - token: the worker's, which claims are made for.
    ///   - worker: the name that recorded tries carry.
    package func run(on connection: Connection, token: UUID, worker: String) throws -> Outcome {
        var statements: [SQL] = []
        var readers: [(Rows, inout Outcome) throws -> Void] = []
        func add(_ statement: SQL, _ read: @escaping (Rows, inout Outcome) throws -> Void = { _, _ in }) {
            statements.append(statement)
            readers.append(read)
        }
        if finished.isEmpty, !requests.contains(where: \.removes) {
            // A claim that a crash forgets is simply not made; an acknowledgement that it forgets, or a removal at most
            // once, is a message sent twice.
            add("select set_config('synchronous_commit', 'off', true)")
        }
        addFinished(worker: worker, add)
        if readsHorizon {
            add(Self.horizonStatement) { rows, outcome in outcome.horizon = try Horizon(rows[0]) }
        }
        if !wake.isEmpty {
            add("select pg_advisory_unlock(\(AdvisoryLock.sleep), s) from unnest(\(wake)) s")
        }
        if !help.isEmpty {
            add("select pg_notify('outrider_wake', 'help:' || s) from unnest(\(help)) s")
        }
        if tellsOfDue { add("select pg_notify('outrider_wake', 'due')") }
        if !sleep.isEmpty {
            add(Self.sleepStatement(sleep)) { rows, outcome in
                outcome.sleepAttempts = try rows.map { try SleepAttempt($0) }
            }
        }
        for removes in [false, true] {
            let requests = requests.filter { $0.removes == removes }
            guard !requests.isEmpty else { continue }
            add(removes ? Self.removalStatement(requests, token) : Self.claimStatement(requests, token)) {
                rows, outcome in
                for row in rows {
                    outcome.claimed.append(try ClaimedDelivery(row, owner: removes ? nil : token))
                }
            }
        }
        var outcome = Outcome()
        for (rows, read) in zip(try connection.pipeline(statements), readers) {
            try read(rows, &outcome)
        }
        return outcome
    }

    // MARK: - What is finished

    private typealias Add = (SQL, @escaping (Rows, inout Outcome) throws -> Void) -> Void

    private func addFinished(worker: String, _ add: Add) {
        // Results may carry the token of a session that was lost meanwhile: it still counts while nobody took over.
        let owners = Set(finished.compactMap(\.delivery.owner))
        for owner in owners {
            var plain: [FinishedTry] = []
            var keyed: [FinishedTry] = []
            var eventful: [FinishedTry] = []
            for result in finished where result.delivery.owner == owner {
                if case .done = result.ending, !result.isRecorded, result.reply == nil {
                    if result.delivery.isKeyed { keyed.append(result) } else { plain.append(result) }
                } else {
                    eventful.append(result)
                }
            }
            if !plain.isEmpty { addAcknowledgement(plain, owner, worker, add) }
            if !keyed.isEmpty { addKeyedAcknowledgement(keyed, owner, worker, add) }
            addReplies(to: eventful.filter { $0.reply != nil }, owner, add)
            if !eventful.isEmpty { addEventful(eventful, owner, worker, add) }
        }
        addReplies(to: finished.filter { $0.delivery.owner == nil && $0.reply != nil }, nil, add)
        let removed = finished.filter { $0.delivery.owner == nil && $0.isRecorded }
        if !removed.isEmpty {
            let batch = TryBatch(removed)
            add(
                """
                insert into outrider.delivery_attempt
                    (message_id, subscription_id, attempt, at, outcome, status, duration, error, worker)
                select t.message, t.subscription, t.attempt, clock_timestamp() - t.took, t.outcome, t.status, t.took, t.error,
                    \(worker)
                from \(batch.rows)
                """
            ) { _, _ in }
        }
    }

    /// The path of nearly all: a success that leaves no trace but its absence.
    private func addAcknowledgement(_ tries: [FinishedTry], _ owner: UUID, _ worker: String, _ add: Add) {
        add("\(Self.acknowledgement(tries, owner)) \(Self.lateSuccesses(tries, worker))") { rows, outcome in
            outcome.late += rows.affected
        }
    }

    /// The same of keyed subscriptions: the next messages of their keys take the places.
    private func addKeyedAcknowledgement(_ tries: [FinishedTry], _ owner: UUID, _ worker: String, _ add: Add) {
        add(
            """
            \(Self.acknowledgement(tries, owner)), late as (\(Self.lateSuccesses(tries, worker)) returning 1)
            select (select count(*) from late),
                outrider.advance(array_agg(d.subscription_id), array_agg(d.key), array_agg(d.place))
            from done d
            """
        ) { rows, outcome in outcome.late += Int(try rows[0].decode(0, as: Int64.self)) }
    }

    private static func acknowledgement(_ tries: [FinishedTry], _ owner: UUID) -> SQL {
        """
        with done as (
            delete from outrider.delivery d
            using unnest(\(tries.map(\.delivery.subscription)), \(tries.map(\.delivery.id))) t (subscription, id)
            where \(unsafeSQL: ClaimedDelivery.isRow) and d.owner = \(owner)
            returning d.id, d.subscription_id, d.key, d.place
        )
        """
    }

    private static func lateSuccesses(_ tries: [FinishedTry], _ worker: String) -> SQL {
        """
        insert into outrider.delivery_attempt (message_id, subscription_id, attempt, at, outcome, error, worker)
        select t.message, t.subscription, t.attempt, clock_timestamp(), 'late',
            'succeeded after the delivery had been taken over', \(worker)
        from unnest(\(tries.map(\.delivery.subscription)), \(tries.map(\.delivery.id)),
            \(tries.map(\.delivery.messageID)), \(tries.map { Int32($0.attempt) })) t (subscription, id, message, attempt)
        where (select count(*) from done) < \(Int64(tries.count)) and not exists (select from done where done.id = t.id)
        """
    }

    /// Publishes answers: those to messages that are still this worker's, or were removed before they were sent.
    private func addReplies(to tries: [FinishedTry], _ owner: UUID?, _ add: Add) {
        let replies = tries.compactMap { result in result.reply.map { (result, $0) } }
        guard !replies.isEmpty else { return }
        add(
            """
            with t as (
                select * from unnest(
                    \(replies.map { $0.0.delivery.subscription }), \(replies.map { $0.0.delivery.id }),
                    \(replies.map { $0.0.delivery.messageID }), \(replies.map { Int32($0.0.attempt) }),
                    \(replies.map { $0.1.address.topic }), \(replies.map { $0.0.delivery.message?.key }),
                    \(replies.map { $0.1.payload }),
                    \(replies.map { $0.1.address.headers(inReplyTo: $0.0.delivery.messageID) })
                ) t (subscription, id, message, attempt, topic, key, payload, headers)
            ), own as (
                select t.* from t join outrider.delivery d on \(unsafeSQL: ClaimedDelivery.isRow) and d.owner = \(owner)
                for update of d
            )
            select count(outrider.reply(r.subscription, r.message, r.attempt, r.topic, r.key, r.payload, r.headers))
            from \(unsafeSQL: owner == nil ? "t" : "own") r
            """
        ) { _, _ in }
    }

    private func addEventful(_ tries: [FinishedTry], _ owner: UUID, _ worker: String, _ add: Add) {
        let batch = TryBatch(tries)
        // First the trace, so that a dead letter that the next statement writes finds all errors, this one included.
        add(
            """
            insert into outrider.delivery_attempt
                (message_id, subscription_id, attempt, at, outcome, status, duration, error, worker)
            select t.message, t.subscription, t.attempt, clock_timestamp() - t.took,
                case when d.id is null then 'late' else t.outcome end, t.status, t.took, t.error, \(worker)
            from \(batch.rows)
            left join outrider.delivery d on \(unsafeSQL: ClaimedDelivery.isRow) and d.owner = \(owner)
            where t.recorded or d.id is null
            """
        ) { _, _ in }
        add(
            """
            with ended as (
                delete from outrider.delivery d using \(batch.rows)
                where \(unsafeSQL: ClaimedDelivery.isRow) and d.owner = \(owner)
                returning d.subscription_id, d.message_id, d.replay, d.redriven,
                    coalesce(d.first_tried_at, clock_timestamp() - t.took) as first_tried_at,
                    t.delay, t.attempts, t.reason, t.error, d.key, d.place
            ), again as (
                insert into outrider.scheduled
                    (due_at, subscription_id, attempts, replay, redriven, message_id, first_tried_at, key, place)
                select clock_timestamp() + e.delay, e.subscription_id, e.attempts, e.replay, e.redriven, e.message_id,
                    e.first_tried_at, e.key, e.place
                from ended e where e.delay is not null
            ), buried as (
                select count(outrider.bury(e.subscription_id, e.message_id, e.attempts, e.first_tried_at, e.reason,
                    e.error, e.key, e.place)) from ended e where e.reason is not null
            ), advanced as (
                -- A dead letter may hold its key up.
                select outrider.advance(array_agg(e.subscription_id), array_agg(e.key), array_agg(e.place))
                from ended e
                left join outrider.subscription s on s.id = e.subscription_id
                where e.place is not null and e.delay is null and (e.reason is null or s.blocks is not true)
                having count(*) > 0
            )
            select (select count(*) from buried), (select count(*) from ended), (select count(*) from advanced)
            """
        ) { rows, outcome in
            outcome.late += tries.count - Int(try rows[0].decode(1, as: Int64.self))
        }
    }

    // MARK: - What is to be sent

    /// The id that one round reads was drawn before the next round's snapshot: `Floor` pairs them so.
    static let horizonStatement: SQL = """
        select pg_snapshot_xmin(pg_current_snapshot())::text::bigint, pg_current_xact_id_if_assigned()::text::bigint,
            q.last_value - case when q.is_called then 0 else 1 end
        from outrider.delivery_id q
        """

    /// Numbers of sagas are negative: `oid`, in which pg_locks shows them, takes them from an int4 and from nothing wider.
    static func sleepStatement(_ subscriptions: [Int32]) -> SQL {
        """
        select t.s, t.held, not t.held and exists (
            select from pg_locks l
            where l.locktype = 'advisory' and l.classid = \(AdvisoryLock.sleep)::int4::oid and l.objid = t.s::oid
                and l.mode = 'ExclusiveLock' and l.granted
                and l.database = (select d.oid from pg_database d where d.datname = current_database()))
        from (select s, pg_try_advisory_lock(\(AdvisoryLock.sleep), s) as held from unnest(\(subscriptions)) s offset 0) t
        """
    }

    /// The rows are found and locked in an array first, which the planner evaluates once. Only a worker that is still
    /// registered claims: one that was given up for dead finds nothing. The share of its row keeps others from giving it
    /// up while a claim is under way, which they would not see.
    private static func claimable(_ requests: [ClaimRequest]) -> SQL {
        """
        array(
            select q.ctid
            from unnest(\(requests.map(\.subscription)), \(requests.map { Int64($0.count) }), \(requests.map(\.floor)))
                w (subscription, count, floor)
            join outrider.subscription s
                on s.id = w.subscription and s.paused_at is null and not s.opening and s.removed_at is null
            cross join lateral (
                select d.ctid from outrider.delivery d
                where d.subscription_id = w.subscription and d.id > w.floor and d.owner is null
                order by d.id limit w.count
                for update skip locked
            ) q
            where exists (select from me)
        )
        """
    }

    /// The message is looked up in a subquery of its own for the reason that `ClaimedDelivery.isRow` gives.
    private static let columns = """
        c.id, c.subscription_id, c.message_id, c.attempts, c.replay,
            (extract(epoch from clock_timestamp() - c.first_tried_at) * 1000000)::bigint,
            m.topic, m.key, m.payload::text, m.headers::text, m.published_at, m.expires_at <= clock_timestamp() and not c.redriven,
            c.place is not null
        from c
        left join lateral (select * from outrider.outbox m where m.id = c.message_id limit 1) m on true
        order by c.id
        """

    private static func claimStatement(_ requests: [ClaimRequest], _ token: UUID) -> SQL {
        """
        with me as (
            select from outrider.worker w where w.token = \(token) for key share
        ), c as (
            update outrider.delivery set owner = \(token)
            where ctid = any (\(claimable(requests)))
            returning id, subscription_id, message_id, attempts, replay, redriven, first_tried_at, place
        )
        select \(unsafeSQL: columns)
        """
    }

    /// At most once: the row is gone before the message is sent.
    private static func removalStatement(_ requests: [ClaimRequest], _ token: UUID) -> SQL {
        """
        with me as (
            select from outrider.worker w where w.token = \(token) for key share
        ), c as (
            delete from outrider.delivery
            where ctid = any (\(claimable(requests)))
            returning id, subscription_id, message_id, attempts, replay, redriven, first_tried_at, place
        )
        select \(unsafeSQL: columns)
        """
    }
}

extension Exchange.Horizon {
    init(_ row: Row) throws {
        self.init(
            oldestRunning: UInt64(try row.decode(0, as: Int64.self)),
            next: try row.decode(1, as: Int64?.self).map { UInt64($0) }, newestID: try row.decode(2, as: Int64.self))
    }
}

extension Exchange.SleepAttempt {
    init(_ row: Row) throws {
        self.init(
            subscription: try row.decode(0, as: Int32.self), isHeld: try row.decode(1, as: Bool.self),
            isHeldByOther: try row.decode(2, as: Bool.self))
    }
}

/// Many finished tries as the arrays of one `unnest`, named `t`.
private struct TryBatch {
    private let tries: [FinishedTry]

    init(_ tries: [FinishedTry]) {
        self.tries = tries
    }

    var rows: SQL {
        """
        unnest(
            \(tries.map(\.delivery.subscription)), \(tries.map(\.delivery.id)), \(tries.map(\.delivery.messageID)),
            \(tries.map { Int32($0.attempt) }), \(tries.map(\.outcome)), \(tries.map { $0.status.map(Int32.init) }),
            \(tries.map(\.duration)), \(tries.map { $0.error.map(storable) }), \(tries.map(\.isRecorded)), \(tries.map(\.delay)),
            \(tries.map(\.attemptsAfter)), \(tries.map(\.reason))
        ) t (subscription, id, message, attempt, outcome, status, took, error, recorded, delay, attempts, reason)
        """
    }
}

/// A handler's words as PostgreSQL can keep them: without U+0000, and not endless.
private func storable(_ text: String) -> String {
    String(text.prefix(4000)).replacing("\0", with: "\u{FFFD}")
}

extension FinishedTry {
    package var delay: Duration? {
        if case .again(let after, _) = ending { after } else { nil }
    }

    fileprivate var attemptsAfter: Int32 {
        if case .again(_, let attempts) = ending { Int32(attempts) } else { Int32(attempt) }
    }

    fileprivate var reason: String? {
        if case .dead(let reason) = ending { reason } else { nil }
    }
}

extension ClaimedDelivery {
    fileprivate init(_ row: Row, owner: UUID?) throws {
        let topic = try row.decode(6, as: String?.self)
        self.init(
            id: try row.decode(0, as: Int64.self), subscription: try row.decode(1, as: Int32.self), owner: owner,
            attempts: Int(try row.decode(3, as: Int32.self)), isReplay: try row.decode(4, as: Bool.self),
            isKeyed: try row.decode(12, as: Bool.self),
            elapsed: try row.decode(5, as: Int64?.self).map { .microseconds($0) },
            message: try topic.map { topic in
                Message(
                    topic: topic, key: try row.decode(7, as: String?.self), payload: row.bytes(8) ?? [],
                    headers: row.bytes(9), publishedAt: try row.decode(10, as: Timestamp.self),
                    isExpired: try row.decode(11, as: Bool?.self) ?? false)
            },
            messageID: try row.decode(2, as: UUID.self))
    }
}
