import Plans
import Testing

/// Whole texts, of a saga with every kind of step.
struct GoldenTests {
    @Test func text() throws {
        #expect(
            SagaPlan(try Samples.everyKind()).text == """
                place-order, version 3
                Charge, reserve and ship an order.

                started by    a message of order.placed, or start_saga
                key           ${ .input.orderId }
                timeout       4h for the way forward
                output        shipment
                kept          30d after its end
                on completed  publishes saga.completed

                The way forward

                ├─ quote: call
                │    GET ${ $env.PRICES }/quotes/${ .input.orderId }
                │    one try of 5s
                ├─ total: set
                │    net, tax
                ├─ reserve: call
                │    POST ${ $env.INVENTORY }/reservations
                │    5 tries of 30s, 500ms to 4s apart
                │    undo: DELETE ${ $env.INVENTORY }/reservations/${ .input.orderId }
                │      20 tries of 30s, 1s to 5m apart
                ├─ charge: call
                │    POST /charges at payments
                │    5 tries of 30s, 500ms to 4s apart, 1m for the whole step
                │    undo: POST /refunds at payments, also when it was refused
                │      5 tries of 30s, 500ms to 4s apart
                ├─ notify: parallel, 2 branches at once, the first failure aborts
                │  ├─ warehouse
                │  │  └─ pick_list: call
                │  │       POST ${ $env.WAREHOUSE }/pick-lists
                │  │       5 tries of 30s, 500ms to 4s apart
                │  │       undo: nothing, for it has no compensation
                │  └─ ledger
                │     └─ book: call
                │          sql: select ledger.book($1, $2)
                │          5 tries of 30s, 500ms to 4s apart
                │          undo: sql: select ledger.unbook($1)
                │            5 tries of 30s, 500ms to 4s apart
                ├─ pack: foreach, each item of ${ .input.items }, 4 at a time
                │  └─ each item
                │     ├─ wrap: call
                │     │    only if ${ .item.isGift }
                │     │    POST ${ $env.GIFTS }/wrappings
                │     │    5 tries of 30s, 500ms to 4s apart
                │     │    undo: DELETE ${ $env.GIFTS }/wrappings/${ .output.id }
                │     │      5 tries of 30s, 500ms to 4s apart
                │     └─ label: call
                │          POST ${ $env.WAREHOUSE }/labels
                │          5 tries of 30s, 500ms to 4s apart
                │          undo: DELETE ${ $env.WAREHOUSE }/labels/${ .output.id }
                │            5 tries of 30s, 500ms to 4s apart
                ├─ settle: wait
                │    for 10m
                ├─ settled: await
                │    the event payment.settled
                │    after 2d it goes on without
                ├─ abroad: switch, the first case that holds
                │  ├─ case 1: when ${ .input.country == "CH" }: nothing
                │  ├─ case 2: when ${ .input.embargo }
                │  │  ├─ allow: approve
                │  │  │    a person decides: Ship order ${ .input.orderId } to ${ .input.country }?
                │  │  │    after 1d it fails
                │  │  └─ refuse: fail
                │  │       aborts with embargo: nothing goes to ${ .input.country }
                │  └─ otherwise
                │     └─ declare: run
                │          the sub-saga customs, key customs-${ .input.orderId }
                │          undo: the sub-saga customs as one unit
                ├─ ship: call, the pivot
                │    POST ${ $env.SHIPPING }/shipments
                │    5 tries of up to 2h until the callback, 500ms apart, 3h for the whole step
                ╞══ the point of no return: once ship has succeeded, nothing is undone
                └─ receipt: publish
                     order.completed

                The way back

                if it fails at        then
                quote, total          nothing to undo
                reserve               undo reserve (if it may have happened)
                charge                undo charge, reserve
                pick_list             undo book (if started), charge, reserve; pick_list stays
                book                  undo charge, reserve; pick_list stays
                pack, at its start    undo book, charge, reserve; pick_list stays
                wrap                  undo [pack, the last started first: in this iteration wrap (if it may have
                                      happened) | in any other label (if started), wrap (if started)], book, charge,
                                      reserve; pick_list stays
                label                 undo [pack, the last started first: in this iteration label (if it may have
                                      happened), wrap (unless skipped) | in any other label (if started), wrap (if
                                      started)], book, charge, reserve; pick_list stays
                settle, settled,      undo [pack, the last started first: label, wrap (unless skipped)], book,
                abroad, at its        charge, reserve; pick_list stays
                start, allow, refuse
                declare               undo declare (if it may have happened), [pack, the last started first: label,
                                      wrap (unless skipped)], book, charge, reserve; pick_list stays
                ship                  undo [abroad, the case that ran: declare], [pack, the last started first:
                                      label, wrap (unless skipped)], book, charge, reserve; pick_list stays; while
                                      it stays unknown whether it has happened: stuck, until a person says which
                receipt, the saga's   nothing is undone: stuck, for a person to retry or skip
                output

                One at a time, each after the one before it has succeeded; what never started or was skipped is
                passed over. A compensation that is refused or out of tries leaves the saga stuck, for a person.
                What stays has no compensation.
                The saga's timeout and a cancel undo in the same order whatever has started by then; once the pivot
                has succeeded, the timeout leaves the saga stuck and a cancel is refused.

                """)
    }
}
