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

    @Test func mermaid() throws {
        #expect(
            SagaPlan(try Samples.everyKind()).mermaid == """
                flowchart TD
                    begin(["place-order, version 3"])
                    s_quote["quote<br/>call<br/>GET ${ $env.PRICES }/quotes/<br/>${ .input.orderId }"]
                    s_total["total<br/>set<br/>net, tax"]
                    s_reserve["reserve<br/>call<br/>POST ${ $env.INVENTORY }/reservations"]
                    s_charge["charge<br/>call<br/>POST /charges at payments"]
                    subgraph g_notify["notify"]
                        s_notify["notify<br/>parallel<br/>2 branches at once"]
                        subgraph g_notify_0["warehouse"]
                            s_pick_list["pick_list<br/>call<br/>POST ${ $env.WAREHOUSE }/pick-lists"]
                        end
                        subgraph g_notify_1["ledger"]
                            s_book["book<br/>call<br/>sql: select ledger.book($1, $2)"]
                        end
                        m_notify((" "))
                    end
                    subgraph g_pack["pack"]
                        s_pack["pack<br/>foreach<br/>each item of ${ .input.items }"]
                        subgraph g_pack_0["each item"]
                            s_wrap["wrap<br/>call<br/>only if ${ .item.isGift }<br/>POST ${ $env.GIFTS }/wrappings"]
                            s_label["label<br/>call<br/>POST ${ $env.WAREHOUSE }/labels"]
                        end
                        m_pack((" "))
                    end
                    s_settle["settle<br/>wait<br/>for 10m"]
                    s_settled["settled<br/>await<br/>the event payment.settled"]
                    subgraph g_abroad["abroad"]
                        s_abroad{{"abroad<br/>switch<br/>the first case that holds"}}
                        subgraph g_abroad_1["case 2"]
                            s_allow["allow<br/>approve<br/>a person decides: Ship order<br/>${ .input.orderId } to<br/>${ .input.country }?"]
                            s_refuse["refuse<br/>fail<br/>aborts with embargo: nothing goes to<br/>${ .input.country }"]
                        end
                        subgraph g_abroad_2["otherwise"]
                            s_declare["declare<br/>run<br/>the sub-saga customs, key<br/>customs-${ .input.orderId }"]
                        end
                        m_abroad((" "))
                    end
                    s_ship["ship<br/>call, the pivot<br/>POST ${ $env.SHIPPING }/shipments"]:::pivot
                    s_receipt["receipt<br/>publish<br/>order.completed"]
                    done(["completed"])
                    aborted(["aborted"])
                    u_reserve["undo reserve<br/>DELETE ${ $env.INVENTORY }/reservations/<br/>${ .input.orderId }"]:::undo
                    u_charge["undo charge<br/>POST /refunds at payments"]:::undo
                    u_book["undo book<br/>sql: select ledger.unbook($1)"]:::undo
                    u_wrap["undo wrap<br/>DELETE ${ $env.GIFTS }/wrappings/<br/>${ .output.id }"]:::undo
                    u_label["undo label<br/>DELETE ${ $env.WAREHOUSE }/labels/<br/>${ .output.id }"]:::undo
                    u_declare["undo declare<br/>the sub-saga customs as one unit"]:::undo
                    begin --> s_quote
                    s_quote --> s_total
                    s_total --> s_reserve
                    s_reserve -.-> u_reserve
                    s_reserve --> s_charge
                    s_charge -.-> u_charge
                    s_charge --> s_notify
                    s_notify -->|"warehouse"| s_pick_list
                    s_pick_list --> m_notify
                    s_notify -->|"ledger"| s_book
                    s_book -.-> u_book
                    s_book --> m_notify
                    m_notify --> s_pack
                    s_pack -->|"each item"| s_wrap
                    s_wrap -.-> u_wrap
                    s_wrap --> s_label
                    s_label -.-> u_label
                    s_label --> m_pack
                    m_pack -->|"next"| s_pack
                    m_pack --> s_settle
                    s_settle --> s_settled
                    s_settled --> s_abroad
                    s_abroad -->|"case 1: when ${ .input.country == #34;CH#34; }"| m_abroad
                    s_abroad -->|"case 2: when ${ .input.embargo }"| s_allow
                    s_allow --> s_refuse
                    s_abroad -->|"otherwise"| s_declare
                    s_declare -.-> u_declare
                    s_declare --> m_abroad
                    m_abroad --> s_ship
                    s_ship -->|"no way back"| s_receipt
                    s_receipt --> done
                    u_reserve -.-> aborted
                    u_charge -.-> u_reserve
                    u_book -.-> u_charge
                    u_wrap -.-> u_book
                    u_label -.-> u_wrap
                    s_refuse -.-> u_label
                    u_declare -.-> u_label
                    classDef undo stroke-dasharray: 5 4
                    classDef pivot stroke-width: 4px

                """)
    }
}
