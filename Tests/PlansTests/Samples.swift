import Delivery
import Expressions
import Primitives
import Sagas

/// Definitions as the decoder would make them. What is written here is valid.
enum Samples {
    /// Every kind of step, and most of what can be said of one.
    static func everyKind() throws -> SagaDefinition {
        var undo = RetryPolicy()
        undo.attempts = .limited(20)
        undo.initial = .seconds(1)
        undo.max = .seconds(300)

        var quote = try call(.get, "${ $env.PRICES }/quotes/${ .input.orderId }")
        quote.id = "quote"
        quote.retry.attempts = .limited(1)
        quote.timeout = .seconds(5)

        let total = Step(
            id: "total",
            action: .set(
                .object([
                    member("net", "${ .steps.quote.output.net }"),
                    member("tax", "${ .steps.quote.output.net * 0.081 }"),
                ])))

        var reserve = try call(.post, "${ $env.INVENTORY }/reservations")
        reserve.id = "reserve"
        reserve.compensation = try compensation(.delete, "${ $env.INVENTORY }/reservations/${ .input.orderId }")
        reserve.compensation?.retry = undo

        var charge = try call(.post, "/charges", endpoint: "payments")
        charge.id = "charge"
        charge.deadline = .seconds(60)
        charge.compensation = try compensation(.post, "/refunds", endpoint: "payments")
        charge.compensation?.when = .started

        let pickList = try call(.post, "${ $env.WAREHOUSE }/pick-lists", id: "pick_list")
        var book = Step(
            id: "book",
            action: .call(.sql(SQLCall(statement: "select ledger.book($1,\n  $2)", arguments: []))))
        book.compensation = Compensation(
            action: .call(.sql(SQLCall(statement: "select ledger.unbook($1)", arguments: []))))
        let notify = Step(
            id: "notify",
            action: .parallel(
                Parallel(branches: [
                    Parallel.Branch(id: "warehouse", steps: [pickList]), Parallel.Branch(id: "ledger", steps: [book]),
                ])))

        var wrap = try call(.post, "${ $env.GIFTS }/wrappings")
        wrap.id = "wrap"
        wrap.condition = try Expression(".item.isGift")
        wrap.compensation = try compensation(.delete, "${ $env.GIFTS }/wrappings/${ .output.id }")
        var label = try call(.post, "${ $env.WAREHOUSE }/labels")
        label.id = "label"
        label.compensation = try compensation(.delete, "${ $env.WAREHOUSE }/labels/${ .output.id }")
        var loop = Foreach(items: try Expression(".input.items"), name: "item", steps: [wrap, label])
        loop.limit = 4
        let pack = Step(id: "pack", action: .foreach(loop))

        let settle = Step(id: "settle", action: .wait(.duration(.seconds(600))))
        var paid = Await(event: "payment.settled")
        paid.timeout = .seconds(2 * 86_400)
        paid.onTimeout = .continue
        let settled = Step(id: "settled", action: .await(paid))

        var decision = Approve(prompt: try Template("Ship order ${ .input.orderId } to ${ .input.country }?"))
        decision.timeout = .seconds(86_400)
        let allow = Step(id: "allow", action: .approve(decision))
        var refusal = Fail(type: "embargo")
        refusal.detail = try Template("nothing goes to ${ .input.country }")
        let refuse = Step(id: "refuse", action: .fail(refusal))
        var customs = Run(saga: "customs", input: text("${ .input }"))
        customs.key = try Template("customs-${ .input.orderId }")
        let declare = Step(id: "declare", action: .run(customs))
        let abroad = Step(
            id: "abroad",
            action: .choose(
                Switch(cases: [
                    Switch.Case(condition: try Expression(#".input.country == "CH""#), steps: []),
                    Switch.Case(condition: try Expression(".input.embargo"), steps: [allow, refuse]),
                    Switch.Case(condition: nil, steps: [declare]),
                ])))

        var ship = try call(.post, "${ $env.SHIPPING }/shipments", isAsync: true)
        ship.id = "ship"
        ship.isPivot = true
        ship.timeout = .seconds(7200)
        ship.deadline = .seconds(3 * 3600)
        ship.retry.multiplier = 1

        let receipt = Step(
            id: "receipt", action: .publish(Publication(topic: "order.completed", payload: text("${ .steps }"))))

        var saga = SagaDefinition(
            name: "place-order", version: 3,
            steps: [quote, total, reserve, charge, notify, pack, settle, settled, abroad, ship, receipt], content: [:])
        saga.about = "Charge, reserve and ship an order."
        saga.startOn = "order.placed"
        saga.key = try Template("${ .input.orderId }")
        saga.timeout = .seconds(4 * 3600)
        saga.output = .object([member("shipment", "${ .steps.ship.output.id }")])
        saga.hooks[.completed] = Publication(topic: "saga.completed", payload: text("${ .saga }"))
        return saga
    }

    /// A wide and deep one with long names: three branches with a loop in one of them, three cases, a pivot.
    static func large() throws -> SagaDefinition {
        func step(_ id: String, _ method: HTTPMethod, _ url: String, undo: String? = nil) throws -> Step {
            var step = try call(method, url, id: id)
            if let undo { step.compensation = try compensation(.delete, undo) }
            return step
        }
        let base = "https://inventory.eu-central-1.shop.example.com/api/v2"
        var reserve = try step(
            "reserve_everything_in_the_regional_warehouse", .post,
            "\(base)/warehouses/${ .input.warehouse.region.code }/reservations?order=${ .input.order.id }&expires=3600&priority=high",
            undo:
                "\(base)/warehouses/${ .input.warehouse.region.code }/reservations/${ .input.order.id }?reason=saga-aborted"
        )
        reserve.retry.attempts = .forever
        var hold = try step(
            "hold", .put, "\(base)/items/${ .item.sku }/holds/${ .input.order.id }",
            undo: "\(base)/items/${ .item.sku }/holds/${ .input.order.id }")
        hold.condition = try Expression(#".item.kind == "physical" and .item.quantity > 0 and (.item.preorder | not)"#)
        let parcels = Step(
            id: "parcels",
            action: .foreach(
                Foreach(
                    items: try Expression(".item.parcels"), name: "parcel",
                    steps: [
                        try step("weigh", .post, "https://scales.example/weighings"),
                        try step(
                            "tag", .post, "https://tags.example/tags", undo: "https://tags.example/tags/${ .output.id }"
                        ),
                    ])))
        let each = Step(
            id: "each_item",
            action: .foreach(
                Foreach(items: try Expression(".input.order.items"), name: "item", steps: [hold, parcels])))
        var invoice = Step(
            id: "invoice",
            action: .call(
                .sql(
                    SQLCall(
                        statement: "insert into billing.invoice (order_id, total) values ($1, $2) returning id",
                        arguments: []))))
        invoice.compensation = Compensation(
            action: .publish(Publication(topic: "invoice.cancelled", payload: text("${ .output }"))))
        let mail = Step(
            id: "mail", action: .publish(Publication(topic: "mail.order-confirmed", payload: text("${ .input }"))))
        let prepare = Step(
            id: "prepare",
            action: .parallel(
                Parallel(branches: [
                    Parallel.Branch(id: "warehouse", steps: [each]),
                    Parallel.Branch(
                        id: "bookkeeping_and_tax_department",
                        steps: [invoice, try step("tax", .post, "https://tax.example/reports")]),
                    Parallel.Branch(id: "customer", steps: [mail]),
                ])))
        let express = try step(
            "express", .post, "https://express.example/bookings",
            undo: "https://express.example/bookings/${ .output.id }")
        let freight = try step(
            "freight", .post, "https://freight.example/bookings",
            undo: "https://freight.example/bookings/${ .output.id }")
        let customs = Step(id: "customs", action: .run(Run(saga: "customs-declaration", input: text("${ .input }"))))
        let carrier = Step(
            id: "carrier",
            action: .choose(
                Switch(cases: [
                    Switch.Case(
                        condition: try Expression(
                            #".input.delivery.speed == "express" and .input.order.weight < 31.5"#), steps: [express]),
                    Switch.Case(condition: try Expression(".input.delivery.isAbroad"), steps: [customs, freight]),
                    Switch.Case(condition: nil, steps: []),
                ])))
        var capture = try step("capture_payment", .post, "https://payments.example/v1/captures")
        capture.isPivot = true
        let score = try step("score", .get, "https://risk.example/scores/${ .input.customer.id }")
        let report = Step(
            id: "report", action: .publish(Publication(topic: "order.completed", payload: text("${ .steps }"))))
        var saga = SagaDefinition(
            name: "fulfil-order-with-regional-warehouses", version: 12,
            steps: [score, reserve, prepare, carrier, capture, report], content: [:])
        saga.about = "Reserves, books, ships and charges; 日本語も <b>& \"quotes\"</b>."
        return saga
    }

    // MARK: - Parts

    /// A saga of these steps.
    static func saga(_ steps: [Step]) -> SagaDefinition {
        SagaDefinition(name: "sample", version: 1, steps: steps, content: [:])
    }

    static func call(
        _ method: HTTPMethod, _ url: String, id: String = "step", endpoint: String? = nil, isAsync: Bool = false
    ) throws -> Step {
        Step(id: id, action: .call(try http(method, url, endpoint: endpoint, isAsync: isAsync)))
    }

    static func compensation(_ method: HTTPMethod, _ url: String, endpoint: String? = nil) throws -> Compensation {
        Compensation(action: .call(try http(method, url, endpoint: endpoint)))
    }

    private static func http(
        _ method: HTTPMethod, _ url: String, endpoint: String? = nil, isAsync: Bool = false
    ) throws -> Call {
        var call = HTTPCall(method: method, url: URLTemplate(try Template(url), isPath: endpoint != nil))
        call.endpoint = endpoint
        call.isAsync = isAsync
        return .http(call)
    }

    static func text(_ source: String) -> ValueTemplate {
        (try? Template(source)).map(ValueTemplate.text) ?? .literal(.string(source))
    }

    static func member(_ name: String, _ source: String) -> ValueTemplate.Member {
        ValueTemplate.Member(name: name, value: text(source))
    }
}
