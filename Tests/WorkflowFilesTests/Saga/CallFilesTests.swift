import Testing
import WorkflowFiles

/// Calls: targets, URLs, headers. The call's options begin at line 7; an endpoint `shop` is there.
struct CallFilesTests {
    @Test(arguments: [
        ("{}", "7:5: error: a call without a target; expected http: POST https://…, or sql: select …"),
        ("htpp: POST https://a.example", "7:5: error: unknown key 'htpp' of call; did you mean 'http'?"),
        (
            """
            http: POST https://a.example
            sql: select 1
            """,
            "8:10: error: a call with 'http' and 'sql'; expected exactly one of them"
        ),
        (
            """
            http: POST https://a.example
            args: [ 1 ]
            """,
            "8:5: error: 'args' has no meaning beside 'http'; expected it beside sql"
        ),
        (
            """
            sql: select 1
            body: 1
            endpoint: shop
            headers: {}
            async: true
            """,
            """
            8:5: error: 'body' has no meaning beside 'sql'; expected it beside http
            9:5: error: 'endpoint' has no meaning beside 'sql'; expected it beside http
            10:5: error: 'headers' has no meaning beside 'sql'; expected it beside http
            11:5: error: 'async' has no meaning beside 'sql'; expected it beside http
            """
        ),
    ])
    func aCallHasOneTarget(yaml: String, messages: String) async {
        #expect(await Self.call(yaml).check().text == messages)
    }

    @Test(arguments: [
        (
            "rabbitmq: { topic: a }",
            "7:5: error: 'rabbitmq' of call is not supported yet; leave it out for this version of Outrider"
        ),
        (
            "kafka: { topic: a }",
            "7:5: error: 'kafka' of call is not supported yet; leave it out for this version of Outrider"
        ),
        (
            "sqs: { topic: a }",
            "7:5: error: 'sqs' of call is not supported yet; leave it out for this version of Outrider"
        ),
        (
            "sns: { topic: a }",
            "7:5: error: 'sns' of call is not supported yet; leave it out for this version of Outrider"
        ),
        (
            "pubsub: { topic: a }",
            "7:5: error: 'pubsub' of call is not supported yet; leave it out for this version of Outrider"
        ),
        (
            "redis: { topic: a }",
            "7:5: error: 'redis' of call is not supported yet; leave it out for this version of Outrider"
        ),
        (
            "celery: { topic: a }",
            "7:5: error: 'celery' of call is not supported yet; leave it out for this version of Outrider"
        ),
        (
            """
            http: POST https://a.example
            reply: true
            """,
            "8:5: error: 'reply' of call is not supported yet; leave it out for this version of Outrider"
        ),
    ])
    func otherTargetsComeLater(yaml: String, messages: String) async {
        #expect(await Self.call(yaml).check().text == messages)
    }

    @Test(arguments: [
        ("http: POST", "7:11: error: the URL is empty; expected http:// or https:// and a host"),
        (
            "http: psot https://a.example",
            "7:11: error: 'psot https://a.example' stands for http; expected GET, POST, PUT, PATCH, DELETE and a URL; did you mean POST?"
        ),
        (
            "http: https://a.example",
            "7:11: error: 'https://a.example' stands for http; expected GET, POST, PUT, PATCH, DELETE and a URL; write POST https://a.example"
        ),
        (
            "http: POST /x",
            "7:11: error: '/x' has no scheme and host; expected http:// or https:// and a host; use ${ $env.NAME } for a base URL, or name an endpoint"
        ),
        ("http: [ POST ]", "7:11: error: a list stands for http; expected a text"),
        (
            "http: POST https://me:hunter2@a.example/",
            "7:11: error: the URL holds credentials; expected an endpoint document with auth: and a secret"
        ),
        (
            "http: POST https://a.example/{id}",
            "7:11: error: the URL holds the character '{'; expected it percent-encoded; write ${ $env.NAME } for a variable"
        ),
        (
            "http: POST kafka://a/b",
            "7:11: error: the scheme 'kafka://' is not supported yet; leave it out for this version of Outrider"
        ),
        (
            "http: POST https://a.example:0/",
            "7:11: error: the URL 'https://a.example:0/' has a port that is none; expected a number from 1 to 65535"
        ),
    ])
    func methodAndURLAreChecked(yaml: String, messages: String) async {
        #expect(await Self.call(yaml).check().text == messages)
    }

    @Test(arguments: [
        (
            """
            http: POST https://a.example
            endpoint: shop
            """,
            "7:11: error: the URL 'https://a.example' stands beside an endpoint, which has the address; expected a path that begins with '/'"
        ),
        (
            """
            http: POST x
            endpoint: shop
            """,
            "7:11: error: the URL 'x' stands beside an endpoint, which has the address; expected a path that begins with '/'"
        ),
        (
            """
            http: POST ${ .input.path }
            endpoint: shop
            """,
            "7:11: error: the URL '${ .input.path }' stands beside an endpoint, which has the address; expected a path that begins with '/'"
        ),
        (
            """
            http: POST /x
            endpoint: shpo
            """,
            "8:15: error: the endpoint 'shpo' is declared nowhere; expected a document 'endpoint: shpo' in these files; did you mean 'shop'?"
        ),
        (
            """
            http: POST /x
            endpoint: Shop
            """,
            "8:15: error: 'Shop' stands for the name of an endpoint; expected a-z, 0-9, '.' and '-', beginning with a letter; did you mean 'shop'?"
        ),
        (
            """
            http: POST /x/${ .input.id }?q=${ .saga.id }
            endpoint: shop
            """,
            ""
        ),
    ])
    func anEndpointHasTheAddress(yaml: String, messages: String) async {
        #expect(await Self.call(yaml).check().text == messages)
    }

    @Test(arguments: [
        (
            "http: POST ${ .input.url }/x",
            "7:11: error: ${ .input.url } stands where the scheme and host of a URL are; expected text, ${ $env.NAME } or an endpoint up to the end of the host"
        ),
        (
            "http: POST https://${ .input.host }/x",
            "7:11: error: ${ .input.host } stands where the scheme and host of a URL are; expected text, ${ $env.NAME } or an endpoint up to the end of the host"
        ),
        (
            "http: POST https://a.example${ .input.path }",
            "7:11: error: ${ .input.path } stands where the scheme and host of a URL are; expected text, ${ $env.NAME } or an endpoint up to the end of the host"
        ),
        (
            "http: POST https://a.example:${ .input.port }/",
            "7:11: error: ${ .input.port } stands where the scheme and host of a URL are; expected text, ${ $env.NAME } or an endpoint up to the end of the host"
        ),
        (
            "http: POST ${ $env.A }${ .input.x }/",
            "7:11: error: ${ .input.x } stands where the scheme and host of a URL are; expected text, ${ $env.NAME } or an endpoint up to the end of the host"
        ),
        (
            "http: POST ${ $env.A | ascii_downcase }/x",
            "7:11: error: ${ $env.A | ascii_downcase } stands where the scheme and host of a URL are; expected text, ${ $env.NAME } or an endpoint up to the end of the host"
        ),
        ("http: POST ${ $env.A }/x/${ .input.x | tostring }", ""),
        ("http: POST ${ $env.A }?x=${ .input.x }", ""),
        ("http: POST https://a.example?x=${ .input.x }", ""),
        ("http: POST https://${ $env.HOST }:${ $env.PORT }/x/${ .input.x }", ""),
    ])
    func schemeAndHostComeFromNoMessage(yaml: String, messages: String) async {
        #expect(await Self.call(yaml).check().text == messages)
    }

    @Test(arguments: [
        (
            """
            http: POST https://a.example
            headers: { X-A: "${ .input.a }", X-B: b }
            """,
            ""
        ),
        (
            """
            http: POST https://a.example
            headers: { traceparent: x }
            """,
            "8:16: error: the header 'traceparent' is set by Outrider itself; expected another header"
        ),
        (
            """
            http: POST https://a.example
            headers: { Idempotency-Key: x }
            """,
            "8:16: error: the header 'Idempotency-Key' is set by Outrider itself; expected another header"
        ),
        (
            """
            http: POST https://a.example
            headers: { Authorization: x }
            """,
            "8:16: error: credentials stand in headers; expected auth: with bearer, basic or header, and { secret: NAME }"
        ),
        (
            """
            http: POST https://a.example
            headers: [ a ]
            """,
            "8:14: error: a list stands for headers; expected a mapping of names to texts"
        ),
        (
            """
            http: POST https://a.example
            headers: { X-A: 5, X-B: "a\\nb" }
            """,
            """
            8:21: error: the number 5 stands for the header X-A; expected a text; quote it: "5"
            8:29: error: the header 'X-B' holds a line end or a control character; expected one line of text
            """
        ),
        (
            """
            http: POST https://a.example
            headers: { X-A: a, x-a: b }
            """,
            "8:24: error: the header 'x-a' stands twice; names of headers ignore case; expected each header once"
        ),
    ])
    func headersAreChecked(yaml: String, messages: String) async {
        #expect(await Self.call(yaml).check().text == messages)
    }

    @Test(arguments: [
        (
            """
            http: POST https://a.example
            async: yes
            """,
            "8:12: error: 'yes' stands for async; expected true or false; did you mean true? YAML 1.2 reads yes as a text"
        ),
        (
            """
            http: POST https://a.example
            body: { a: [ 1, "${ .input.x" ] }
            """,
            "8:22: error: '${' is not closed by a '}'"
        ),
        (
            """
            http: POST https://a.example
            body: { a: [ 1, "${ .inptu.x }" ] }
            """,
            "8:25: error: a step sees no '.inptu'; expected one of .input, .steps, .saga; did you mean '.input'?"
        ),
        (
            """
            http: POST https://a.example
            body: { a: [ 1, "${ .input.x | foo }" ] }
            """,
            "8:25: error: the expression '.input.x | foo' is not valid jq: foo/0 is not defined"
        ),
    ])
    func restIsChecked(yaml: String, messages: String) async {
        #expect(await Self.call(yaml).check().text == messages)
    }

    private static func call(_ lines: String) -> Workflows {
        let indented = lines.split(separator: "\n").map { "    \($0)\n" }.joined()
        return Workflows([
            "a.yaml": Workflows.saga("- id: a\n  compensate: none\n  call:\n\(indented)"),
            "b.yaml": Workflows.endpoint(),
        ])
    }
}
