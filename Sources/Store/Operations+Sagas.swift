import Postgres
package import Primitives

/// What is asked of sagas and said to them. Acts and signals only append to a saga's mailbox: its engine has the last word,
/// which its history tells.
extension Operations {
    package struct SagaStart: Sendable {
        package var saga: String
        package var input: String
        package var key: String?
        package var startAt: Timestamp?
        package var headers: JSON?

        package init(saga: String, input: String) {
            self.saga = saga
            self.input = input
        }
    }

    /// The id of the new saga, or of the one that has its key and the same input.
    package func start(_ start: SagaStart) throws -> UUID {
        try connection.query(
            """
            select outrider.start_saga(\(start.saga), \(start.input)::jsonb, \(start.key), \(start.startAt), \(start.headers))
            """)[0].decode(0, as: UUID.self)
    }

    // MARK: - Looking

    package struct SagaFilter: Sendable {
        package var saga: String?
        package var key: String?
        package var status: String?
        package var suspendedOnly = false

        package init() {}
    }

    /// The newest first.
    package func sagas(_ filter: SagaFilter, limit: Int) throws -> [JSON] {
        try rows(
            """
            select s.id, s.saga, s.version, s.key, s.status, s.suspended, s.waiting_for, s.failure, s.skipped, s.started_at,
                s.deadline, s.finished_at, s.parent_id
            from outrider.sagas s
            where (\(filter.saga)::text is null or s.saga = \(filter.saga))
                and (\(filter.key)::text is null or s.key = \(filter.key))
                and (\(filter.status)::text is null or s.status = \(filter.status))
                and (s.suspended or not \(filter.suspendedOnly))
            order by s.id desc limit \(limit)
            """)
    }

    /// The one that has the key, or the newest that had it.
    package func sagaID(_ saga: String, key: String) throws -> UUID? {
        try connection.query(
            "select s.id from outrider.sagas s where s.saga = \(saga) and s.key = \(key) order by s.id desc limit 1"
        ).first?.decode(0, as: UUID.self)
    }

    /// All that is known of one: its row, `seen_at` by the database's clock, its `parent` by name and key, its `steps`, its
    /// `history` and the sagas that it started, `sub_sagas`. Nil when there is none.
    package func saga(_ id: UUID) throws -> JSON? {
        try rows(
            """
            select s.*, clock_timestamp() as seen_at,
                (select p.saga || coalesce('/' || p.key, '') from outrider.sagas p where p.id = s.parent_id) as parent,
                (select coalesce(json_agg(row_to_json(t) order by t.start_seq), '[]') from outrider.saga_steps t
                    where t.saga_id = s.id) as steps,
                (select coalesce(json_agg(row_to_json(h) order by h.seq), '[]') from outrider.saga_history h
                    where h.saga_id = s.id) as history,
                (select coalesce(json_agg(json_build_object('id', c.id, 'saga', c.saga, 'key', c.key, 'status', c.status,
                        'step', c.parent_step) order by c.id), '[]')
                    from outrider.sagas c where c.parent_id = s.id) as sub_sagas
            from outrider.sagas s where s.id = \(id)
            """
        ).first
    }

    /// The oldest first.
    package func sagaHistory(_ id: UUID) throws -> [JSON] {
        try rows(
            """
            select h.seq, h.at, h.event, h.step, h.op, h.attempt, h.detail, h.worker
            from outrider.saga_history h where h.saga_id = \(id) order by h.seq
            """)
    }

    // MARK: - Saying

    package func signal(_ id: UUID, event: String, payload: String?) throws {
        try connection.query("select outrider.signal_saga(\(id), \(event), \(payload)::jsonb)")
    }

    /// To the saga that has the key now.
    package func signal(_ saga: String, key: String, event: String, payload: String?) throws {
        try connection.query("select outrider.signal_saga(\(saga), \(key), \(event), \(payload)::jsonb)")
    }

    package func cancel(_ id: UUID, reason: String) throws {
        try connection.query("select outrider.cancel_saga(\(id), \(reason))")
    }

    package func terminate(_ id: UUID, reason: String) throws {
        try connection.query("select outrider.terminate_saga(\(id), \(reason))")
    }

    package func suspend(_ id: UUID, reason: String?) throws {
        try connection.query("select outrider.suspend_saga(\(id), \(reason))")
    }

    package func resumeSaga(_ id: UUID, reason: String?) throws {
        try connection.query("select outrider.resume_saga(\(id), \(reason))")
    }

    package func retry(_ id: UUID, input: String?, reason: String?) throws {
        try connection.query("select outrider.retry_saga(\(id), \(input)::jsonb, \(reason))")
    }

    package func skip(_ id: UUID, step: String, reason: String, output: String?) throws {
        try connection.query("select outrider.skip_step(\(id), \(step), \(reason), \(output)::jsonb)")
    }

    package func resolve(_ id: UUID, step: String, happened: Bool, output: String?, reason: String?) throws {
        try connection.query("select outrider.resolve_step(\(id), \(step), \(happened), \(output)::jsonb, \(reason))")
    }
}
