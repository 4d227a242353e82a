import Postgres
import Primitives
import Sagas

/// The statements that write the decisions of many sagas at once, in the order in which they must run.
///
/// Rows are looked up by `= any (array[…])` for the reason that `ClaimedDelivery.isRow` gives: of a plain join the planner makes
/// a hash of the whole table when its statistics say that it is small.
enum SagaWriting {
    static func statements(_ commits: [SagaCommit], token: UUID, worker: String) -> [SQL] {
        guard !commits.isEmpty else { return [] }
        var statements = facts(commits, worker)
        statements += rows(commits)
        statements += messages(commits)
        statements += sagas(commits)
        statements += letters(commits)
        statements += callbacks(commits)
        let read = commits.flatMap(\.readMail)
        if !read.isEmpty { statements.append("delete from outrider.saga_mail m where m.id = any (\(read))") }
        statements += rests(commits, token)
        return statements
    }

    private static func facts(_ commits: [SagaCommit], _ worker: String) -> [SQL] {
        let facts = commits.flatMap { commit in commit.facts.map { (commit.saga, $0) } }
        guard !facts.isEmpty else { return [] }
        return [
            """
            insert into outrider.saga_fact (saga_id, at, event, step, op, attempt, detail, worker)
            select t.saga, t.at, t.event, t.step, t.op, t.attempt, t.detail, \(worker)
            from unnest(\(facts.map(\.0)), \(facts.map(\.1.at)), \(facts.map(\.1.event)), \(facts.map(\.1.step?.text)),
                \(facts.map(\.1.op?.rawValue)), \(facts.map { $0.1.attempt.map(Int32.init) }), \(facts.map(\.1.detail)))
                with ordinality t (saga, at, event, step, op, attempt, detail, n)
            order by t.n
            """
        ]
    }

    private static func rows(_ commits: [SagaCommit]) -> [SQL] {
        let changed = commits.compactMap { commit in commit.row.map { (commit.saga, $0) } }
        guard !changed.isEmpty else { return [] }
        let rows = changed.map(\.1)
        var statements: [SQL] = [
            """
            update outrider.saga s
            set status = t.status, suspended = t.suspended, pivoted = t.pivoted, failure = t.failure,
                trouble = case when t.trouble is not null then t.trouble || jsonb_build_object('since',
                    coalesce(s.trouble -> 'since', to_jsonb(clock_timestamp()))) end,
                output = t.output, skipped = t.skipped, deadline = t.deadline,
                finished_at = case when t.ended then coalesce(s.finished_at, clock_timestamp()) end
            from unnest(\(changed.map(\.0)), \(rows.map(\.status)), \(rows.map(\.isSuspended)), \(rows.map(\.hasPivoted)),
                \(rows.map(\.failure)), \(rows.map(\.trouble)), \(rows.map(\.output)), \(rows.map(\.skipped)),
                \(rows.map(\.deadline)), \(rows.map(\.hasEnded)))
                t (saga, status, suspended, pivoted, failure, trouble, output, skipped, deadline, ended)
            where s.id = any (array[t.saga])
            """
        ]
        let ended = changed.filter(\.1.hasEnded).map(\.0)
        if !ended.isEmpty {
            statements.append(
                """
                delete from outrider.saga_key k
                using (
                    select s.id, s.name, s.key from outrider.saga s
                    join outrider.saga_type t on t.id = s.type_id and t.reuse_key
                    where s.id = any (\(ended))
                ) e
                where k.name = any (array[e.name]) and k.key = any (array[e.key]) and k.saga_id = e.id
                """)
        }
        return statements
    }

    private static func messages(_ commits: [SagaCommit]) -> [SQL] {
        let messages = commits.flatMap(\.messages)
        return messages.isEmpty ? [] : [publication(of: messages)]
    }

    private static func publication(of messages: [Effect.Message]) -> SQL {
        let headers = messages.map { message -> JSON? in
            message.headers.isEmpty
                ? .none : .some(.object(JSONObject(message.headers.map { (name: $0.name, value: .string($0.value)) })))
        }
        return """
            insert into outrider.outbox (topic, key, payload, headers)
            select t.topic, t.key, t.payload, t.headers
            from unnest(\(messages.map(\.topic)), \(messages.map(\.key)), \(messages.map(\.payload)), \(headers))
                with ordinality t (topic, key, payload, headers, n)
            order by t.n
            """
    }

    private static func start(of child: SagaCommit.Child, by saga: UUID) -> SQL {
        """
        select outrider.begin_saga(\(child.saga), \(child.input), \(child.key), null, null, \(saga), \(child.step.text))
        """
    }

    /// What of a decision others may refuse, each as a statement of its own.
    static func parts(of commit: SagaCommit) -> [(origin: Effect.Message.Origin, statement: SQL)] {
        commit.messages.map { ($0.origin, publication(of: [$0])) }
            + commit.children.map { (.step($0.step, .action), start(of: $0, by: commit.saga)) }
    }

    /// To and from sub-sagas: rare, so one statement each. They are started in the order of their keys, whoever's decisions they
    /// are: crosswise two workers would wait for each other's.
    private static func sagas(_ commits: [SagaCommit]) -> [SQL] {
        let children = commits.flatMap { commit in commit.children.map { (child: $0, parent: commit.saga) } }
        var statements = children.sorted { ($0.child.saga, $0.child.key ?? "") < ($1.child.saga, $1.child.key ?? "") }
            .map { start(of: $0.child, by: $0.parent) }
        for commit in commits {
            for (step, act) in commit.childActs {
                statements.append(
                    "select outrider.tell_child(\(commit.saga), \(step.text), \(act.name), \(act.payload)::jsonb)")
            }
            if let outcome = commit.outcome {
                statements.append("select outrider.tell_parent(\(commit.saga), \(outcome.json))")
            }
        }
        return statements
    }

    private static func letters(_ commits: [SagaCommit]) -> [SQL] {
        var statements: [SQL] = commits.compactMap { commit in
            commit.settled.map { settled in
                let act: SQL =
                    settled.discarding.map { reason in
                        "discarded_at = clock_timestamp(), discarded_by = \(settled.by), discard_reason = \(reason)"
                    } ?? "redriven_at = clock_timestamp(), redriven_by = \(settled.by)"
                return """
                    update outrider.dead_letter d set \(act)
                    where d.saga_id = \(commit.saga) and d.redriven_at is null and d.discarded_at is null
                    """
            }
        }
        for commit in commits {
            for letter in commit.letters {
                let kind = letter.op == .compensate ? "compensation" : "step"
                statements.append(
                    """
                    insert into outrider.dead_letter
                        (kind, saga_id, step, key, payload, attempts, first_tried_at, reason, last_error, errors)
                    select \(kind), s.id, \(letter.step?.text), s.key, \(letter.input), \(Int32(letter.attempts)),
                        (select min(f.at) from outrider.saga_fact f
                            where f.saga_id = s.id and f.step = \(letter.step?.text) and f.op = \(letter.op.rawValue)),
                        \(letter.reason), \(letter.detail),
                        coalesce((select jsonb_agg(jsonb_build_object('attempt', f.attempt, 'at', f.at, 'error', f.detail -> 'error',
                                'worker', f.worker) order by f.seq)
                            from outrider.saga_fact f
                            where f.saga_id = s.id and f.step = \(letter.step?.text) and f.op = \(letter.op.rawValue)
                                and f.detail ? 'error'), '[]')
                    from outrider.saga s where s.id = \(commit.saga)
                    """)
            }
        }
        return statements
    }

    private static func callbacks(_ commits: [SagaCommit]) -> [SQL] {
        let callbacks = commits.flatMap { commit in commit.callbacks.map { (commit.saga, $0) } }
        guard !callbacks.isEmpty else { return [] }
        return [
            """
            insert into outrider.saga_callback (token, saga_id, step, op, send)
            select t.token, t.saga, t.step, t.op, t.send
            from unnest(\(callbacks.map(\.1.token)), \(callbacks.map(\.0)), \(callbacks.map(\.1.step.text)),
                \(callbacks.map(\.1.op.rawValue)), \(callbacks.map { Int32($0.1.send) })) t (token, saga, step, op, send)
            """
        ]
    }

    private static func rests(_ commits: [SagaCommit], _ token: UUID) -> [SQL] {
        var statements: [SQL] = []
        let hardened = commits.filter { $0.clearsRescues && $0.rest == nil && !$0.held.isEmpty }
        if !hardened.isEmpty {
            statements.append(
                """
                update outrider.delivery d set rescues = 0
                from unnest(\(hardened.flatMap { c in c.held.map { _ in c.lane } }), \(hardened.flatMap(\.held)))
                    t (subscription, id)
                where \(unsafeSQL: ClaimedDelivery.isRow) and d.owner = \(token)
                """)
        }
        let resting = commits.compactMap { commit in commit.rest.map { (commit, $0) } }
        guard !resting.isEmpty else { return statements }
        statements.append(
            """
            delete from outrider.delivery d
            using unnest(\(resting.flatMap { c in c.0.held.map { _ in c.0.lane } }), \(resting.flatMap(\.0.held)))
                t (subscription, id)
            where \(unsafeSQL: ClaimedDelivery.isRow) and d.owner = \(token)
            """)
        statements.append(
            """
            with r as (
                select * from unnest(\(resting.map(\.0.saga)), \(resting.map(\.0.lane)), \(resting.map(\.1.until)),
                    \(resting.map(\.1.waitingFor)), \(resting.map { Int32($0.1.rescues) }))
                    r (saga, lane, until, waiting_for, rescues)
            ), timer as (
                insert into outrider.scheduled (due_at, subscription_id, message_id, rescues)
                select r.until, r.lane, r.saga, r.rescues from r where r.until is not null
                returning id, message_id
            )
            update outrider.saga s
            set owner = null, waiting_for = r.waiting_for, timer = (select t.id from timer t where t.message_id = r.saga)
            from r where s.id = any (array[r.saga]) and s.owner = \(token)
            """)
        return statements
    }
}
