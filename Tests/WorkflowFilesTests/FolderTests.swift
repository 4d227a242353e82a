import Testing
import WorkflowFiles

/// What only shows with all files at hand.
struct FolderTests {
    @Test func allErrorsShowAtOnceSortedByFileAndPlace() async {
        let outcome = await Workflows([
            "b.yaml": "topic: b\nretension: 1d\n---\ntopic: B",
            "a.yaml": Workflows.subscription("timeout: 5\nfilter: ${ input }\nretry: { attempts: 0, jitter: ful }"),
            "c/a.json": #"{"topic": "b"}"#,
            "d.yaml": "topic: [",
        ]).check()
        #expect(
            outcome.messages == [
                "a.yaml:4:10: error: the number 5 stands for timeout; expected a duration such as 250ms, 5s, 10m, 2h, 7d or PT5S; did you mean '5s'?",
                "a.yaml:5:12: error: 'input' is not available in expressions; an expression sees one input, '.'",
                "a.yaml:6:20: error: the number 0 stands for attempts; expected a whole number from 1 to 1000000, or forever; attempts counts tries in total: 1 means no retry",
                "a.yaml:6:31: error: 'ful' stands for jitter; expected none, full or equal; did you mean 'full'?",
                "b.yaml:2:1: error: unknown key 'retension' of a topic; did you mean 'retention'?",
                "b.yaml:4:8: error: 'B' stands for the name of a topic; expected a-z, 0-9, '.' and '-', beginning with a letter; did you mean 'b'?",
                "c/a.json:1:11: error: the topic 'b' is declared twice; first at b.yaml:1:8; expected each name once",
                "d.yaml:1:9: error: the file ends inside [ … ] or { … }; expected a closing bracket",
            ])
    }

    @Test func aNameIsDeclaredOncePerKind() async {
        let outcome = await Workflows([
            "a.yaml": "topic: shop\n---\n" + Workflows.endpoint(), "b.yaml": "\n" + Workflows.endpoint(),
        ]).check()
        #expect(
            outcome.messages
                == [
                    "b.yaml:2:11: error: the endpoint 'shop' is declared twice; first at a.yaml:3:11; expected each name once"
                ])
    }

    private let mail = "subscription: mail\ntopics: [ a ]\ndeliver: { http: POST /mail, endpoint: shop }"

    @Test func endpointsAreFoundInOtherFilesAndInTheDatabase() async {
        #expect(await Workflows(["a.yaml": mail, "b.yaml": Workflows.endpoint()]).check().messages == [])
        #expect(await Workflows(mail).check(known: .init(endpoints: ["shop"])).messages == [])
        #expect(
            await Workflows(mail).check(known: .init(endpoints: ["shops"])).messages == [
                "a.yaml:3:40: error: the endpoint 'shop' is declared nowhere; expected a document 'endpoint: shop' in these files; did you mean 'shops'?"
            ])
    }

    @Test func anEndpointThatIsWrongIsNotCalledMissing() async {
        #expect(
            await Workflows(["a.yaml": mail, "b.yaml": "endpoint: shop\nurl: ftp://x"]).check().messages
                == ["b.yaml:2:6: error: the URL 'ftp://x'; expected http:// or https:// and a host"])
    }
}
