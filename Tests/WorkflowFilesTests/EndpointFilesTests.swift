import Testing
import WorkflowFiles

/// Addresses, headers and credentials that are refused.
struct EndpointFilesTests {
    @Test(arguments: [
        (
            "shop.example/v1",
            "'shop.example/v1' has no scheme and host; expected http:// or https:// and a host; use ${ $env.NAME } for a base URL, or name an endpoint"
        ),
        ("ftp://shop.example", "the URL 'ftp://shop.example'; expected http:// or https:// and a host"),
        ("\"\"", "the URL is empty; expected http:// or https:// and a host"),
        ("https:///v1", "the URL 'https:///v1'; expected http:// or https:// and a host"),
        ("https://", "the URL 'https://'; expected http:// or https:// and a host"),
        ("kafka://broker", "the scheme 'kafka://' is not supported yet; leave it out for this version of Outrider"),
        ("https://${ .payload.host }/v1", "${ .payload.host } stands in a URL; expected ${ $env.NAME } only"),
        ("${ .payload.url }", "${ .payload.url } stands in a URL; expected ${ $env.NAME } only"),
        (
            "https://shop.example/${ $env.A | ascii_downcase }",
            "${ $env.A | ascii_downcase } stands in a URL; expected ${ $env.NAME } only"
        ),
        (
            "https://shop.example/?a=b",
            "the URL of an endpoint has a query; expected the query in the path of each target"
        ),
        ("https://shop.example/a#b", "the URL has a fragment, which is never sent; expected a URL without '#'"),
        ("https://shop.example/a b", "the URL holds the character U+0020; expected it percent-encoded"),
        ("https://shop.example/ä", "the URL holds the character U+00E4; expected it percent-encoded"),
        (
            "https://shop.example/{id}",
            "the URL holds the character '{'; expected it percent-encoded; write ${ $env.NAME } for a variable"
        ),
        (
            "https://shop.example:0",
            "the URL 'https://shop.example:0' has a port that is none; expected a number from 1 to 65535"
        ),
        (
            "https://shop.example:http/v1",
            "the URL 'https://shop.example:http/v1' has a port that is none; expected a number from 1 to 65535"
        ),
        ("https://[::1]x", "the URL 'https://[::1]x' has a port that is none; expected a number from 1 to 65535"),
        ("17", "the number 17 stands for the URL of an endpoint; expected a text; quote it: \"17\""),
    ])
    func addressIsChecked(url: String, message: String) async {
        #expect(await Workflows("endpoint: shop\nurl: \(url)").check().messages == ["a.yaml:2:6: error: \(message)"])
    }

    @Test(arguments: [
        "https://me:hunter2@shop.example", "https://hunter2@shop.example/v1", "me:hunter2@shop.example",
        "ftp://me:hunter2@x",
        "\"https://${ $env.USER }:${ $env.hunter2 }@shop.example\"",
    ])
    func credentialsInAnAddressAreRefusedAndNotRepeated(url: String) async {
        #expect(
            await Workflows("endpoint: shop\nurl: \(url)").check().messages
                == [
                    "a.yaml:2:6: error: the URL holds credentials; expected an endpoint document with auth: and a secret"
                ])
        let target = await Workflows("subscription: a\ntopics: [ a ]\ndeliver:\n  http: \(url)").check()
        #expect(target.hasErrors)
        #expect(!target.messages.joined().contains("hunter2"))
    }

    /// The headers, in line 3.
    @Test(arguments: [
        ("[ a ]", "10: error: a list stands for headers; expected a mapping of names to texts"),
        ("{ X-A: 1 }", "17: error: the number 1 stands for the header X-A; expected a text; quote it: \"1\""),
        ("{ X-A: }", "17: error: nothing stands for the header X-A; expected a text"),
        ("{ X-A: \"\" }", "17: error: the header 'X-A' is empty; expected a text"),
        (
            "{ X-A: \"a\\nb\" }",
            "17: error: the header 'X-A' holds a line end or a control character; expected one line of text"
        ),
        (
            "{ X-A: \"a\\r\" }",
            "17: error: the header 'X-A' holds a line end or a control character; expected one line of text"
        ),
        ("{ \"X A\": a }", "12: error: 'X A' is no name of a header; expected letters, digits and '-'"),
        ("{ \"X-A\\r\\nX-B\": a }", "12: error: 'X-A\r\nX-B' is no name of a header; expected letters, digits and '-'"),
        (
            "{ X-A: a, x-a: b }",
            "20: error: the header 'x-a' stands twice; names of headers ignore case; expected each header once"
        ),
        (
            "{ Content-Length: \"5\" }",
            "12: error: the header 'Content-Length' is set by Outrider itself; expected another header"
        ),
        ("{ ce-id: \"5\" }", "12: error: the header 'ce-id' is set by Outrider itself; expected another header"),
        (
            "{ Expect: 100-continue }",
            "12: error: the header 'Expect' is set by Outrider itself; expected another header"
        ),
        (
            "{ X-A: \"${ .payload.x }\" }",
            "17: error: ${ .payload.x } stands in a header of an endpoint; expected ${ $env.NAME } only"
        ),
        (
            "{ authorization: Bearer hunter2 }",
            "12: error: credentials stand in headers; expected auth: with bearer, basic or header, and { secret: NAME }"
        ),
        (
            "{ X-Api-Key: hunter2 }",
            "12: error: credentials stand in headers; expected auth: with bearer, basic or header, and { secret: NAME }"
        ),
    ])
    func headersAreChecked(headers: String, message: String) async {
        #expect(
            await Workflows(Workflows.endpoint("headers: \(headers)")).check().messages == ["a.yaml:3:\(message)"])
    }

    private static let written =
        "is written in the file; expected { secret: NAME }; put the value into the environment variable NAME, or a file NAME in OUTRIDER_SECRETS_DIR"

    @Test(arguments: [
        ("auth: { bearer: hunter2 }", "17: error: the token of auth \(written)"),
        ("auth: { bearer: 12345 }", "17: error: the token of auth \(written)"),
        ("auth: { basic: { username: me, password: hunter2 } }", "42: error: the password \(written)"),
        ("auth: { header: { name: X-Key, value: hunter2 } }", "39: error: the value of the header \(written)"),
        ("signing: { standard_webhooks: whsec_hunter2 }", "31: error: the signing secret \(written)"),
        (
            "auth: { bearer: { secret: \"hunter2 !\" } }",
            "27: error: what stands here is no name of a secret; expected letters, digits, '_', '-' and '.', beginning with a letter or '_'"
        ),
        (
            "auth: { bearer: { secret: 12345 } }",
            "27: error: what stands here is no name of a secret; expected letters, digits, '_', '-' and '.', beginning with a letter or '_'"
        ),
    ])
    func secretsInPlainAreRefusedAndNotRepeated(line: String, message: String) async {
        let outcome = await Workflows(Workflows.endpoint(line)).check()
        #expect(outcome.messages == ["a.yaml:3:\(message)"])
        #expect(!outcome.messages.joined().contains("hunter2"))
        #expect(!outcome.messages.joined().contains("12345"))
    }

    @Test(arguments: [
        (
            "auth: { bearer: { secert: A } }",
            [
                "19: error: unknown key 'secert' of the token of auth; did you mean 'secret'?"
            ]
        ),
        ("auth: {}", ["7: error: auth has nothing; expected exactly one of bearer, basic, header"]),
        (
            "auth: { bearer: { secret: A }, header: {} }",
            ["7: error: auth has bearer and header; expected exactly one of bearer, basic, header"]
        ),
        (
            "auth: { aws: {} }",
            ["9: error: 'aws' of auth is not supported yet; leave it out for this version of Outrider"]
        ),
        ("auth: { berer: { secret: A } }", ["9: error: unknown key 'berer' of auth; did you mean 'bearer'?"]),
        (
            "auth: { basic: { username: \"a:b\", password: { secret: A } } }",
            ["28: error: a username with a colon or a control character; expected one without"]
        ),
        ("tls: { key: me.key }", ["6: error: tls has a key and no cert; expected both, or neither"]),
        (
            "tls: { cert: me.pem }",
            [
                "6: error: tls has a cert and no key; expected both, or neither; one file that holds both can be named twice"
            ]
        ),
        (
            "tls: { verify: no }",
            [
                "16: error: 'no' stands for verify; expected true or false; did you mean false? YAML 1.2 reads no as a text"
            ]
        ),
        ("tls: { ca: \"\" }", ["12: error: '' stands for ca; expected the path of a PEM file"]),
        ("tls: { cafile: a }", ["8: error: unknown key 'cafile' of tls; expected one of ca, cert, key, verify"]),
    ])
    func credentialsAndTLSAreChecked(line: String, messages: [String]) async {
        #expect(
            await Workflows(Workflows.endpoint(line)).check().messages.sorted() == messages.map { "a.yaml:3:\($0)" })
    }
}
