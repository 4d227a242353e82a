import Postgres
import Primitives
import TestSupport

/// Days of the log in the past, which only tests make: nobody can publish there any more.
enum Partition {
    /// `outbox_20261124`; negative days are to come.
    static func name(daysAgo: Int) -> String {
        let day = Timestamp.now() + .seconds(-86_400 * daysAgo)
        return "outbox_" + day.rfc3339.prefix(10).filter { $0 != "-" }
    }
}

extension TestDatabase {
    func partition(daysAgo: Int) async throws {
        let name = Partition.name(daysAgo: daysAgo)
        try await execute(
            """
            do $$
            declare
                day timestamptz := date_trunc('day', now(), 'UTC') - interval '\(daysAgo) days';
            begin
                execute format('create table outrider.\(name) partition of outrider.outbox for values from (%L) to (%L)',
                    outrider.uuid_v7_floor(day), outrider.uuid_v7_floor(day + interval '1 day'));
                insert into outrider.outbox_partition (name, lower_at, upper_at) values ('\(name)', day, day + interval '1 day');
            end
            $$
            """)
    }

    /// Publishes in the first hour of a day that is over; the payloads are numbered from 1. Returns the first one's id.
    @discardableResult
    func publishAged(_ topic: String, daysAgo: Int, count: Int = 1) async throws -> UUID {
        try await value(
            """
            with day as (
                select date_trunc('day', now(), 'UTC') - \(Int32(daysAgo)) * interval '1 day' + n * interval '1 second' as at, n
                from generate_series(1, \(Int32(count))) n
            ), published as (
                insert into outrider.outbox (id, topic, key, payload, published_at)
                select (left(outrider.uuid_v7_floor(at)::text, 24) || right(gen_random_uuid()::text, 12))::uuid, \(topic), 'k' || n, jsonb_build_object('n', n), at from day
                returning id
            )
            select min(id::text)::uuid from published
            """)
    }

    func partitionOf(_ message: UUID) async throws -> String {
        try await value("select tableoid::regclass::text from outrider.outbox where id = \(message)")
    }
}
