import Postgres
package import Primitives

extension Operations {
    /// What the sidecar's API asks beyond what commands ask.
    package var http: HTTP { HTTP(connection: connection) }

    /// Rows come as the bytes of their JSON, as the server wrote it, to be passed on as they are.
    package struct HTTP {
        fileprivate let connection: Connection

        /// One page of a listing, the newest first.
        package struct Page {
            package var rows: [[UInt8]] = []
            /// The last row's id, if there may be more.
            package var next: UUID?
        }
    }
}

// MARK: - Sagas

extension Operations.HTTP {
    package struct StartedSaga: Sendable {
        package let id: UUID
        package let isNew: Bool
        package let status: String
    }

    /// - Parameter input: a JSON text.
    package func start(
        _ saga: String, input: String, key: String?, startAt: Timestamp?, headers: JSON?
    ) throws -> StartedSaga {
        try connection.transaction {
            while true {
                let id = try connection.query(
                    "select outrider.start_saga(\(saga), \(input)::jsonb, \(key), \(startAt), \(headers))")[0]
                    .decode(0, as: UUID.self)
                let row = try connection.query(
                    "select s.status, s.xmin = pg_current_xact_id()::xid from outrider.saga s where s.id = \(id)"
                ).first
                // One that ended long ago may have been pruned in between, which frees its key.
                guard let row else { continue }
                return StartedSaga(
                    id: id, isNew: try row.decode(1, as: Bool.self), status: try row.decode(0, as: String.self))
            }
        }
    }

    /// How a saga stands, for whoever waits for it.
    package struct Standing: Sendable {
        /// Its id, status, output, failure, and when it ended.
        package let json: JSON
        /// It has ended, or needs a person.
        package let isSettled: Bool
    }

    package func standings(of sagas: [UUID]) throws -> [UUID: Standing] {
        let rows = try connection.query(
            """
            select o.id, row_to_json(o), o.finished_at is not null or o.status = 'stuck'
            from (
                select s.id, s.status, s.output, coalesce(s.failure, s.trouble) as failure, s.finished_at
                from outrider.saga s where s.id = any (\(sagas))
            ) o
            """)
        var standings: [UUID: Standing] = [:]
        for row in rows {
            standings[try row.decode(0, as: UUID.self)] = Standing(
                json: try row.decode(1, as: JSON.self), isSettled: try row.decode(2, as: Bool.self))
        }
        return standings
    }

    package static let sagaStatuses = [
        "running", "compensating", "stuck", "completed", "compensated", "failed", "terminated",
    ]

    /// Without inputs and outputs, which may be large.
    ///
    /// - Parameter status: one of `sagaStatuses`.
    package func sagas(
        status: String?, saga: String?, key: String?, before: UUID?, limit: Int
    ) throws -> Page {
        var condition: SQL = "true"
        // As text, so that the index of what is stuck can be used.
        if let status = Self.sagaStatuses.first(where: { $0 == status }) {
            condition = "\(condition) and s.status = '\(unsafeSQL: status)'"
        }
        if let saga { condition = "\(condition) and s.saga = \(saga)" }
        if let key { condition = "\(condition) and s.key = \(key)" }
        if let before { condition = "\(condition) and s.id < \(before)" }
        return try page(
            """
            select s.id, s.saga, s.version, s.key, s.status, s.suspended, s.waiting_for, s.failure, s.skipped, s.started_at,
                s.deadline, s.finished_at, s.parent_id, s.parent_step, s.worker
            from outrider.sagas s where \(condition) order by s.id desc limit \(Int64(limit))
            """, limit: limit)
    }

    /// With its steps in the order of their starts, and its history.
    package func saga(_ id: UUID) throws -> [UInt8]? {
        try connection.query(
            """
            select row_to_json(r)
            from (
                select s.*, steps.steps, history.history
                from outrider.sagas s
                cross join lateral (
                    select coalesce(json_agg(t order by t.start_seq, t.step), '[]') as steps
                    from (
                        select t.step, t.start_seq, t.status, t.attempts, t.input, t.output, t.error, t.compensation_status,
                            t.compensation_attempts, t.started_at, t.finished_at
                        from outrider.saga_steps t where t.saga_id = s.id
                    ) t
                ) steps
                cross join lateral (
                    select coalesce(json_agg(h order by h.seq), '[]') as history
                    from (
                        select h.seq, h.at, h.event, h.step, h.op, h.attempt, h.detail, h.worker
                        from outrider.saga_history h where h.saga_id = s.id
                    ) h
                ) history
                where s.id = \(id)
            ) r
            """
        ).first?.bytes(0)
    }
}

// MARK: - Callbacks

extension Operations.HTTP {
    // Each returns false when the token is known to be stale.

    package func complete(token: Secret, output: JSON?) throws -> Bool {
        try connection.query("select outrider.complete_step(\(token.value), \(output))")[0].decode(0, as: Bool.self)
    }

    package func fail(token: Secret, error: JSON) throws -> Bool {
        try connection.query("select outrider.fail_step(\(token.value), \(error))")[0].decode(0, as: Bool.self)
    }

    package func heartbeat(token: Secret, extend: Duration) throws -> Bool {
        try connection.query("select outrider.heartbeat_step(\(token.value), \(extend))")[0].decode(0, as: Bool.self)
    }
}

// MARK: - Dead letters

extension Operations.HTTP {
    package static let letterKinds = ["message", "step", "compensation"]

    /// Without payloads, which may be large.
    package func deadLetters(_ filter: Operations.DeadLetterFilter, limit: Int) throws -> Page {
        try page(
            """
            select d.id, d.kind, d.subscription, d.saga_id, d.step, d.message_id, d.topic, d.key, d.attempts, d.first_tried_at,
                d.dead_at, d.reason, d.last_error, d.redriven_at, d.redriven_by, d.redriven_as, d.redrive_of, d.discarded_at,
                d.discarded_by, d.discard_reason
            from outrider.dead_letters d where \(filter.condition) order by d.id desc limit \(Int64(limit))
            """, limit: limit)
    }

    package func deadLetter(_ id: UUID) throws -> [UInt8]? {
        try connection.query("select row_to_json(d) from outrider.dead_letters d where d.id = \(id)").first?.bytes(0)
    }

    /// - Parameter statement: its first column is the id by which it is sorted.
    private func page(_ statement: SQL, limit: Int) throws -> Page {
        let rows = try connection.query("select r.id, row_to_json(r) from (\(statement)) r")
        var page = Page(rows: rows.compactMap { $0.bytes(1) })
        if rows.count == limit { page.next = try rows.last?.decode(0, as: UUID.self) }
        return page
    }
}
