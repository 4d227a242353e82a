import Testing
import WorkflowFiles

/// Files that are not what they ought to be, whatever they declare.
struct MalformedFilesTests {
    @Test(arguments: [
        (
            "",
            "1:1: error: the file declares nothing; expected a document with saga, subscription, topic, endpoint or schedule; remove the file, or give it another ending"
        ),
        (
            "# later\n---\n",
            "1:1: error: the file declares nothing; expected a document with saga, subscription, topic, endpoint or schedule; remove the file, or give it another ending"
        ),
        (
            "~",
            "1:1: error: nothing stands where a document begins; expected a mapping with one of saga, subscription, topic, endpoint, schedule"
        ),
        (
            "- topic: a",
            "1:1: error: a list stands where a document begins; expected a mapping with one of saga, subscription, topic, endpoint, schedule"
        ),
        (
            "topic:a",
            "1:1: error: 'topic:a' stands where a document begins; expected a mapping with one of saga, subscription, topic, endpoint, schedule"
        ),
        (
            "topics: [ a ]",
            "1:1: error: unknown key 'topics' and no key that tells what the document declares; expected one of saga, subscription, topic, endpoint, schedule; did you mean 'topic'?"
        ),
        (
            "name: a\nkind: b",
            "1:1: error: a document that declares nothing; expected one of saga, subscription, topic, endpoint, schedule"
        ),
        (
            "name: a\nsubscribtion: b",
            "2:1: error: unknown key 'subscribtion' and no key that tells what the document declares; expected one of saga, subscription, topic, endpoint, schedule; did you mean 'subscription'?"
        ),
        (
            "topic: a\nendpoint: b",
            "2:1: error: a document with 'topic' and 'endpoint'; expected exactly one of them; put '---' on a line between two documents"
        ),
    ])
    func documentSaysWhatItDeclares(text: String, message: String) async {
        #expect(await Workflows(text).check().messages == ["a.yaml:\(message)"])
    }

    @Test(arguments: [
        ("topic: a\n\tretention: 1d", "2:1: error: a tab; expected spaces for indentation"),
        ("topic:\n\ta", "2:1: error: a tab; expected spaces for indentation"),
        ("topic: @a", "1:8: error: a character that cannot begin a value; quote texts that begin with '%', '@' or '`'"),
        (
            "topic: \"a\nretention: 1d\n",
            "1:8: error: the text in quotes that begins here is not closed; expected a closing quote"
        ),
        (
            "topic: 'a\n---\ntopic: b",
            "1:8: error: the text in quotes that begins here is not closed; expected a closing quote"
        ),
        (
            "topic: \"a\\q\"",
            "1:10: error: an escape that YAML does not have; double the '\\', or put the text in single quotes"
        ),
        (
            "topic: \"\\ud83d\\ude00\"",
            "1:11: error: an escape that is no Unicode character; write the character itself instead of surrogates"
        ),
        (
            "topic: a: b",
            "1:9: error: a colon where no key can stand; expected the keys of one mapping indented alike; quote a text that holds a colon and a space"
        ),
        (
            "topic: a\n retention: 1d",
            "2:11: error: a colon where no key can stand; expected the keys of one mapping indented alike; quote a text that holds a colon and a space"
        ),
        ("topic: a\nretention\n", "2:1: error: a key without a colon; expected a colon and a space behind it"),
        (
            "topic: 'a' b",
            "1:12: error: this does not belong to the mapping that begins at line 1; expected the keys of one mapping indented alike"
        ),
        (
            " topic: a\nretention: 1d",
            "2:1: error: a text behind the end of a document; expected '---' on a line between two documents"
        ),
        ("topics: - a", "1:9: error: '-' where no list can begin; expected the list on lines of its own, or [ … ]"),
        (
            "topic: a\nx:\n  - a\n b: c",
            "4:2: error: this does not belong to the mapping that begins at line 1; expected the keys of one mapping indented alike"
        ),
        ("topic: [ a\nretention: 1d", "1:8: error: the list that begins here is not closed; expected ',' or ']'"),
        (
            "topic: [ b #, a ]",
            "1:8: error: the list that begins here is not closed; expected ',' or ']'; quote a text that begins with '#', which begins a comment"
        ),
        ("topic: [ #, a ]", "1:16: error: the file ends inside [ … ] or { … }; expected a closing bracket"),
        ("topic: [ , a ]", "1:10: error: a value is missing here; expected a text, a list or a mapping"),
        ("topic: { a: 1\n", "1:8: error: the mapping that begins here is not closed; expected ',' or '}'"),
        (
            "topic: [ 'a' b ]",
            "1:14: error: this does not belong to the list that begins at column 8; expected ',' or ']'"
        ),
        (
            "topic: *.a",
            "1:8: error: an unquoted text that begins with '*', which begins an alias in YAML; expected it in quotes; write \"*.a\""
        ),
        (
            "subscription: a\ntopics: [ * ]\ndeliver: { http: POST https://a.example }",
            "2:11: error: an unquoted text that begins with '*', which begins an alias in YAML; expected it in quotes; write \"*\""
        ),
        (
            "topic: &.a b",
            "1:8: error: an unquoted text that begins with '&', which begins an anchor in YAML; expected it in quotes; write \"&.a\""
        ),
        (
            "topic: *a",
            "1:8: error: the alias '*a' has no anchor before it; expected '&a' at an earlier value; quote the text if it is no alias: \"*a\""
        ),
        ("topic: &a [ *a ]", "1:13: error: the alias '*a' stands inside the value that it names"),
        (
            "topic: &a b\n---\ntopic: *a",
            "3:8: error: the alias '*a' has no anchor before it; expected '&a' at an earlier value; quote the text if it is no alias: \"*a\""
        ),
        ("topic: a\u{1}", "1:9: error: a control character; expected a text"),
        ("topic: a\u{0}", "1:9: error: a control character; expected a text"),
        (
            "# ä €\ntopic: 'ä' b",
            "2:12: error: this does not belong to the mapping that begins at line 2; expected the keys of one mapping indented alike"
        ),
    ])
    func brokenYAMLSaysWhereAndWhatToDo(text: String, message: String) async {
        #expect(await Workflows(text).check().messages == ["a.yaml:\(message)"])
    }

    @Test(arguments: [
        ("topic: a\ntopic: b", "2:1: error: the key 'topic' stands twice; first at line 1; expected each key once"),
        (
            "topic: a\nretention: 1d\n\"retention\": 2d",
            "3:1: error: the key 'retention' stands twice; first at line 2; expected each key once"
        ),
        (
            "topic: a\n<<: { retention: 1d }",
            "2:1: error: '<<' merges nothing in YAML 1.2; expected the keys themselves; an alias can stand for a whole value: key: *name"
        ),
        ("topic: a\n[ b ]: c", "2:1: error: a list stands as a key; expected a text"),
        (
            "topic: !name a",
            "1:8: error: the tag '!name' has no meaning here; expected no tag, or one of YAML's core schema; quote the text if the '!' belongs to it"
        ),
        ("topic: a\nretention: !!int 1d", "2:12: error: '1d' is not what its tag !!int says"),
        (
            "topic: a\nretention: -.inf",
            "2:12: error: '-.inf' is a number in YAML that JSON does not have; expected a finite number; quote it if a text is meant: \"-.inf\""
        ),
        (
            "topic: a\nretention: !!float .NaN",
            "2:12: error: '.NaN' is a number in YAML that JSON does not have; expected a finite number; quote it if a text is meant: \".NaN\""
        ),
        ("topic: a\nretension: 1d", "2:1: error: unknown key 'retension' of a topic; did you mean 'retention'?"),
        (
            "topic: a\nttl: 1d",
            "2:1: error: unknown key 'ttl' of a topic; expected one of topic, retention, dedupe_window, max_backlog, overflow, block_for, publish_rate"
        ),
        ("topic: a\nRetention: 1d", "2:1: error: unknown key 'Retention' of a topic; did you mean 'retention'?"),
    ])
    func keysAreKnownAndStandOnce(text: String, message: String) async {
        #expect(await Workflows(text).check().messages.contains("a.yaml:\(message)"))
    }

    @Test(arguments: [
        (Array("topic: a\n# ".utf8) + [0xFF], "2:3: error: the byte 0xFF is not UTF-8; expected a text in UTF-8"),
        (Array("topic: ä".utf8.dropLast()), "1:8: error: the byte 0xC3 is not UTF-8; expected a text in UTF-8"),
        ([0xFF, 0xFE, 0x74, 0x00], "1:1: error: the byte 0xFF is not UTF-8; expected a text in UTF-8"),
    ])
    func textIsUTF8(bytes: [UInt8], message: String) async {
        #expect(await Workflows(bytes: bytes).check().messages == ["a.yaml:\(message)"])
    }

    @Test func hugeFileIsRefusedUnread() async {
        let outcome = await Workflows("topic: a\n#" + String(repeating: "x", count: 1 << 20)).check()
        #expect(outcome.messages == ["a.yaml:1:1: error: the file has 1048586 bytes; expected at most 1048576"])
    }

    @Test func nestingHasALimitAliasesIncluded() async {
        func nested(_ inner: String) -> String {
            String(repeating: "[", count: 40) + inner + String(repeating: "]", count: 40)
        }
        #expect(
            await Workflows("topic: a\nx: \(nested(nested("")))").check().messages
                == ["a.yaml:2:67: error: more than 64 levels of nesting, aliases expanded; expected at most 64"])
        #expect(
            await Workflows("topic: a\nx: &x \(nested(""))\ny: \(nested("*x"))").check().messages
                == ["a.yaml:3:44: error: more than 64 levels of nesting, aliases expanded; expected at most 64"])
        let brackets = await Workflows(String(repeating: "[", count: 1 << 20)).check()
        #expect(
            brackets.messages == [
                "a.yaml:1:65: error: more than 64 levels of nesting, aliases expanded; expected at most 64"
            ])
    }

    @Test func aliasBombIsDefused() async {
        var text = "topic: a\nx0: &x0 [ 1, 1 ]\n"
        for level in 1...40 { text += "x\(level): &x\(level) [ *x\(level - 1), *x\(level - 1) ]\n" }
        #expect(
            await Workflows(text).check().messages
                == [
                    "a.yaml:16:19: error: the document has more than 100000 values, aliases expanded; expected at most 100000"
                ])
    }

    @Test func manyAliasesOfALongTextAreRefused() async {
        let long = String(repeating: "x", count: 100_000)
        let text = "topic: a\nx: &x \(long)\ny: [" + String(repeating: "*x,", count: 60) + "]"
        #expect(
            await Workflows(text).check().messages == [
                "a.yaml:3:125: error: the document has more than 4194304 bytes of text, aliases expanded; expected at most 4194304"
            ])
    }

    @Test func whatStandsBeforeBrokenYAMLIsCheckedToo() async {
        let outcome = await Workflows("topic: A\n---\ntopic: b\n---\ntopic: [ c").check()
        #expect(
            outcome.messages == [
                "a.yaml:1:8: error: 'A' stands for the name of a topic; expected a-z, 0-9, '.' and '-', beginning with a letter; did you mean 'a'?",
                "a.yaml:5:8: error: the list that begins here is not closed; expected ',' or ']'",
            ])
    }

    @Test func whatStandsBehindBrokenYAMLIsCheckedToo() async {
        let outcome = await Workflows("topic: [ a\n---\ntopic: B\n---\ntopic: c: d\n---\ntopic: 'e\n---\ntopic: F")
            .check()
        #expect(
            outcome.messages == [
                "a.yaml:1:8: error: the list that begins here is not closed; expected ',' or ']'",
                "a.yaml:3:8: error: 'B' stands for the name of a topic; expected a-z, 0-9, '.' and '-', beginning with a letter; did you mean 'b'?",
                "a.yaml:5:9: error: a colon where no key can stand; expected the keys of one mapping indented alike; quote a text that holds a colon and a space",
                "a.yaml:7:8: error: the text in quotes that begins here is not closed; expected a closing quote",
                "a.yaml:9:8: error: 'F' stands for the name of a topic; expected a-z, 0-9, '.' and '-', beginning with a letter; did you mean 'f'?",
            ])
    }

    @Test func aDocumentWithDirectivesIsToldOfOnce() async {
        let outcome = await Workflows("%YAML 1.2\n--- @\n---\ntopic: B").check()
        #expect(outcome.messages.map { $0.prefix(15) } == ["a.yaml:2:5: err", "a.yaml:4:8: err"])
    }

    @Test func missingPathIsAnError() async {
        let outcome = await WorkflowFolder.load(paths: ["/nowhere/a.yaml"])
        #expect(
            outcome.diagnostics.map(\.description) == [
                "/nowhere/a.yaml:1:1: error: cannot be read: No such file or directory"
            ])
    }
}
