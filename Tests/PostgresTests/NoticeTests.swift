import Postgres
import Synchronization
import Testing

struct NoticeTests {
    private final class Heard: Sendable {
        let notices = Mutex<[Notice]>([])
    }

    @Test func whatTheServerRaisesIsHeardBesideTheResult() throws {
        let heard = Heard()
        let connection = try connect { options in
            options.onNotice = { notice in heard.notices.withLock { $0.append(notice) } }
        }
        try connection.execute(
            script: """
                do $$ begin
                    raise notice 'nothing changes';
                    raise warning 'take care' using hint = 'slowly';
                end $$
                """)
        #expect(try connection.value("select 1", as: Int32.self) == 1)
        let notices = heard.notices.withLock { $0 }
        #expect(notices.map(\.severity) == ["NOTICE", "WARNING"])
        #expect(notices.map(\.message) == ["nothing changes", "take care"])
        #expect(notices.map(\.hint) == [nil, "slowly"])
    }

    @Test func noticesOfAPipelineAreHeardToo() throws {
        let heard = Heard()
        let connection = try connect { options in
            options.onNotice = { notice in heard.notices.withLock { $0.append(notice) } }
        }
        try connection.execute(
            script: """
                create function pg_temp.tell(text) returns void language plpgsql as $$ begin raise notice '%', $1; end $$
                """)
        _ = try connection.pipeline(["select pg_temp.tell('one')", "select pg_temp.tell('two')"])
        #expect(heard.notices.withLock { $0.map(\.message) } == ["one", "two"])
    }

    @Test func withoutAnEarTheyGoNowhere() throws {
        let connection = try connect()
        try connection.execute(script: "do $$ begin raise warning 'unheard'; end $$")
        #expect(try connection.value("select 1", as: Int32.self) == 1)
    }
}
