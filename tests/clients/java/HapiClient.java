// HAPI's client with the strict parser, in JSON and in XML. Arguments: base URL, json or xml.

import ca.uhn.fhir.context.FhirContext;
import ca.uhn.fhir.model.api.Include;
import ca.uhn.fhir.model.primitive.InstantDt;
import ca.uhn.fhir.parser.StrictErrorHandler;
import ca.uhn.fhir.rest.api.CacheControlDirective;
import ca.uhn.fhir.rest.api.EncodingEnum;
import ca.uhn.fhir.rest.api.MethodOutcome;
import ca.uhn.fhir.rest.api.PatchTypeEnum;
import ca.uhn.fhir.rest.api.PreferReturnEnum;
import ca.uhn.fhir.rest.api.SearchTotalModeEnum;
import ca.uhn.fhir.rest.api.SummaryEnum;
import ca.uhn.fhir.rest.client.api.IGenericClient;
import ca.uhn.fhir.rest.client.apache.GZipContentInterceptor;
import ca.uhn.fhir.rest.gclient.ReferenceClientParam;
import ca.uhn.fhir.rest.gclient.StringClientParam;
import ca.uhn.fhir.rest.param.DateRangeParam;
import ca.uhn.fhir.rest.server.exceptions.BaseServerResponseException;
import ca.uhn.fhir.rest.server.exceptions.InvalidRequestException;
import ca.uhn.fhir.rest.server.exceptions.NotModifiedException;
import ca.uhn.fhir.rest.server.exceptions.PreconditionFailedException;
import ca.uhn.fhir.rest.server.exceptions.ResourceGoneException;
import ca.uhn.fhir.rest.server.exceptions.ResourceNotFoundException;
import ca.uhn.fhir.rest.server.exceptions.UnprocessableEntityException;
import java.math.BigDecimal;
import java.util.Date;
import java.util.HashSet;
import java.util.List;
import java.util.Set;
import java.util.UUID;
import org.hl7.fhir.instance.model.api.IBaseOperationOutcome;
import org.hl7.fhir.r4.model.*;
import org.hl7.fhir.r4.model.Bundle.BundleType;
import org.hl7.fhir.r4.model.Bundle.HTTPVerb;

public class HapiClient {
    static final String SYSTEM = "http://example.vn/hapi";
    static final String LOINC = "http://loinc.org";
    static final String RUN = UUID.randomUUID().toString().substring(0, 8);
    static int checks = 0;

    final IGenericClient client;

    HapiClient(IGenericClient client) {
        this.client = client;
    }

    public static void main(String[] arguments) {
        FhirContext context = FhirContext.forR4();
        context.setParserErrorHandler(new StrictErrorHandler());
        // The client asks for metadata first and refuses a server of another FHIR version.
        IGenericClient client = context.newRestfulGenericClient(arguments[0]);
        client.setEncoding(EncodingEnum.forContentType(arguments[1]));
        HapiClient test = new HapiClient(client);
        test.capabilities();
        test.instance();
        test.conditional();
        test.patches();
        test.search();
        test.bundles();
        test.operations();
        test.errors();
        test.options(arguments[0]);
        System.out.println(checks + " checks");
    }

    static void check(boolean right, Object... what) {
        checks++;
        if (!right) {
            StringBuilder text = new StringBuilder();
            for (Object o : what) text.append(o).append(' ');
            throw new AssertionError(text.toString());
        }
    }

    static void same(Object expected, Object got) {
        check(expected.equals(got), "expected", expected, "got", got);
    }

    static <E extends BaseServerResponseException> E refused(Class<E> kind, Runnable call) {
        try {
            call.run();
        } catch (BaseServerResponseException e) {
            check(kind.isInstance(e), "expected", kind.getSimpleName(), "got", e);
            return kind.cast(e);
        }
        throw new AssertionError(kind.getSimpleName() + " expected, nothing thrown");
    }

    static Patient patient(String value) {
        Patient p = new Patient();
        p.addIdentifier().setSystem(SYSTEM).setValue(RUN + value);
        p.addName().setFamily("Nguyễn").addGiven("Thị").addGiven("Đào").setText("Nguyễn Thị Đào");
        p.setBirthDateElement(new DateType("1984-02"));
        p.setGender(Enumerations.AdministrativeGender.FEMALE);
        p.getText().setStatus(Narrative.NarrativeStatus.GENERATED);
        p.getText().setDivAsString("<div>Bà <b>Đào</b></div>");
        return p;
    }

    static Observation observation(String subject, String value, String day) {
        Observation o = new Observation();
        o.setStatus(Observation.ObservationStatus.FINAL);
        o.getCode().addCoding().setSystem(LOINC).setCode("29463-7").setDisplay("Cân nặng");
        o.setSubject(new Reference(subject));
        o.setEffective(new DateTimeType(day));
        o.setValue(new Quantity().setValue(new BigDecimal(value)).setUnit("kg").setSystem("http://unitsofmeasure.org").setCode("kg"));
        return o;
    }

    void capabilities() {
        CapabilityStatement statement = client.capabilities().ofType(CapabilityStatement.class).execute();
        same("4.0.1", statement.getFhirVersion().toCode());
        CapabilityStatement.CapabilityStatementRestComponent rest = statement.getRestFirstRep();
        check(rest.getResource().stream().anyMatch(r -> r.getType().equals("Patient") && r.getUpdateCreate() && r.getConditionalCreate()));
        check(rest.getInteraction().stream().anyMatch(i -> i.getCode().toCode().equals("transaction")));
    }

    void instance() {
        MethodOutcome made = client.create().resource(patient("a")).prefer(PreferReturnEnum.REPRESENTATION).execute();
        check(made.getCreated());
        same("1", made.getId().getVersionIdPart());
        Patient read = client.read().resource(Patient.class).withId(made.getId().toUnqualifiedVersionless()).execute();
        same("Nguyễn Thị Đào", read.getNameFirstRep().getText());
        same("1984-02", read.getBirthDateElement().getValueAsString());
        check(read.getText().getDivAsString().contains("Bà <b>Đào</b>"), read.getText().getDivAsString());

        refused(NotModifiedException.class, () -> client.read().resource(Patient.class).withId(read.getIdElement().getIdPart()).ifVersionMatches("1").throwNotModifiedException().execute());
        // An update of what was read carries If-Match: W/"1" or "1" by the version in its id.
        read.setActive(true);
        MethodOutcome updated = client.update().resource(read).withId(read.getIdElement()).prefer(PreferReturnEnum.REPRESENTATION).execute();
        same("2", updated.getId().getVersionIdPart());
        check(((Patient) updated.getResource()).getActive());
        read.setActive(false);
        PreconditionFailedException stale = refused(PreconditionFailedException.class, () -> client.update().resource(read).withId(read.getIdElement()).execute());
        check(stale.getOperationOutcome() instanceof OperationOutcome);

        Patient first = client.read().resource(Patient.class).withIdAndVersion(read.getIdElement().getIdPart(), "1").execute();
        check(!first.hasActive());
        Bundle history = client.history().onInstance(read.getIdElement().toUnqualifiedVersionless()).returnBundle(Bundle.class).execute();
        same(2, history.getEntry().size());
        same(HTTPVerb.PUT, history.getEntryFirstRep().getRequest().getMethod());
        Bundle all = client.history().onServer().returnBundle(Bundle.class).count(1).execute();
        same(1, all.getEntry().size());
        check(client.history().onType(Patient.class).returnBundle(Bundle.class).since(new Date(System.currentTimeMillis() - 600_000)).execute().getEntry().size() >= 2);

        MethodOutcome own = client.update().resource((Patient) patient("own").setId("hapi-" + RUN)).execute();
        check(own.getCreated());
        same("hapi-" + RUN, own.getId().getIdPart());

        IBaseOperationOutcome gone = client.delete().resourceById(read.getIdElement().toUnqualifiedVersionless()).execute().getOperationOutcome();
        check(gone == null || gone instanceof OperationOutcome);
        refused(ResourceGoneException.class, () -> client.read().resource(Patient.class).withId(read.getIdElement().getIdPart()).execute());
        refused(ResourceNotFoundException.class, () -> client.read().resource(Patient.class).withId("none-" + RUN).execute());
    }

    void conditional() {
        String criteria = "identifier=" + SYSTEM + "|" + RUN + "c";
        MethodOutcome made = client.create().resource(patient("c")).conditionalByUrl("Patient?" + criteria).execute();
        check(made.getCreated());
        MethodOutcome again = client.create().resource(patient("c")).conditional().where(Patient.IDENTIFIER.exactly().systemAndIdentifier(SYSTEM, RUN + "c")).execute();
        same(made.getId().getIdPart(), again.getId().getIdPart());
        Patient changed = patient("c");
        changed.setActive(true);
        MethodOutcome updated = client.update().resource(changed).conditional().where(Patient.IDENTIFIER.exactly().systemAndIdentifier(SYSTEM, RUN + "c")).execute();
        same(made.getId().getIdPart(), updated.getId().getIdPart());
        same("2", updated.getId().getVersionIdPart());
        client.create().resource(patient("c")).execute();
        refused(PreconditionFailedException.class, () -> client.update().resource(patient("c")).conditionalByUrl("Patient?" + criteria).execute());
        refused(PreconditionFailedException.class, () -> client.delete().resourceConditionalByUrl("Patient?" + criteria).execute());
        client.create().resource(patient("d")).execute();
        client.delete().resourceConditionalByType(Patient.class).where(Patient.IDENTIFIER.exactly().systemAndIdentifier(SYSTEM, RUN + "d")).execute();
        same(0, found("d").size());
    }

    List<Bundle.BundleEntryComponent> found(String value) {
        return client.search().forResource(Patient.class).where(Patient.IDENTIFIER.exactly().systemAndIdentifier(SYSTEM, RUN + value))
            .returnBundle(Bundle.class).cacheControl(new CacheControlDirective().setNoCache(true)).execute().getEntry();
    }

    void patches() {
        IdType id = (IdType) client.create().resource(patient("p")).execute().getId().toUnqualifiedVersionless();
        MethodOutcome json = client.patch().withBody("[{\"op\":\"replace\",\"path\":\"/gender\",\"value\":\"male\"}]").withId(id).prefer(PreferReturnEnum.REPRESENTATION).execute();
        same(Enumerations.AdministrativeGender.MALE, ((Patient) json.getResource()).getGender());
        Parameters patch = new Parameters();
        Parameters.ParametersParameterComponent operation = patch.addParameter().setName("operation");
        operation.addPart().setName("type").setValue(new CodeType("replace"));
        operation.addPart().setName("path").setValue(new StringType("Patient.birthDate"));
        operation.addPart().setName("value").setValue(new DateType("1985-03-04"));
        MethodOutcome path = client.patch().withFhirPatch(patch).withId(id).prefer(PreferReturnEnum.REPRESENTATION).execute();
        same("1985-03-04", ((Patient) path.getResource()).getBirthDateElement().getValueAsString());
        MethodOutcome matched = client.patch().withBody("[{\"op\":\"add\",\"path\":\"/active\",\"value\":true}]").conditional(Patient.class)
            .where(Patient.IDENTIFIER.exactly().systemAndIdentifier(SYSTEM, RUN + "p")).execute();
        same("4", matched.getId().getVersionIdPart());
        BaseServerResponseException wrong = refused(UnprocessableEntityException.class,
            () -> client.patch().withBody("[{\"op\":\"test\",\"path\":\"/gender\",\"value\":\"female\"}]").withId(id).execute());
        check(((OperationOutcome) wrong.getOperationOutcome()).getIssueFirstRep().hasDiagnostics());
    }

    void search() {
        Organization station = new Organization();
        station.setName("Trạm y tế xã Đồng Tâm " + RUN);
        IdType organization = (IdType) client.create().resource(station).execute().getId().toUnqualifiedVersionless();
        Patient p = patient("s");
        p.setManagingOrganization(new Reference(organization));
        String subject = client.create().resource(p).execute().getId().toUnqualifiedVersionless().getValue();
        for (int n = 0; n < 25; n++) client.create().resource(observation(subject, "5" + n % 10 + ".50", String.format("2026-03-%02dT08:00:00+07:00", n + 1))).execute();

        ReferenceClientParam toSubject = Observation.SUBJECT;
        Bundle page = client.search().forResource(Observation.class).where(toSubject.hasId(subject)).and(Observation.CODE.exactly().systemAndCode(LOINC, "29463-7"))
            .include(new Include("Observation:subject")).include(new Include("Patient:organization", true)).sort().descending(Observation.DATE).count(10)
            .totalMode(SearchTotalModeEnum.ACCURATE).returnBundle(Bundle.class).execute();
        same(25, page.getTotal());
        check(page.getEntry().stream().anyMatch(e -> e.getResource() instanceof Organization && e.getSearch().getMode() == Bundle.SearchEntryMode.INCLUDE));
        Set<String> seen = new HashSet<>();
        String last = "9999";
        while (true) {
            for (Bundle.BundleEntryComponent e : page.getEntry()) {
                if (!(e.getResource() instanceof Observation o)) continue;
                check(seen.add(o.getIdElement().getIdPart()), "twice", o.getId());
                check(o.getEffectiveDateTimeType().getValueAsString().compareTo(last) < 0);
                last = o.getEffectiveDateTimeType().getValueAsString();
                check(o.getValueQuantity().getValueElement().getValueAsString().endsWith(".50"), o.getValueQuantity().getValueElement().getValueAsString());
            }
            if (page.getLink(Bundle.LINK_NEXT) == null) break;
            page = client.loadPage().next(page).execute();
        }
        same(25, seen.size());
        Bundle back = client.loadPage().previous(page).execute();
        check(back.hasEntry());

        same(25, client.search().forResource(Observation.class).where(Observation.SUBJECT.hasChainedProperty("Patient", Patient.ORGANIZATION.hasChainedProperty("Organization", Organization.NAME.matches().value("tram y te xa dong tam " + RUN))))
            .summaryMode(SummaryEnum.COUNT).returnBundle(Bundle.class).execute().getTotal());
        same(1, client.search().byUrl("Patient?_has:Observation:subject:code=" + LOINC + "|29463-7&_id=" + subject.substring(8)).returnBundle(Bundle.class).execute().getEntry().size());
        for (String name : List.of("nguyen", "NGUYỄN", "dao", "Đào", "đao"))
            same(1, client.search().forResource(Patient.class).where(Patient.NAME.matches().value(name)).and(Patient.IDENTIFIER.exactly().systemAndIdentifier(SYSTEM, RUN + "s")).returnBundle(Bundle.class).execute().getEntry().size());
        same(0, client.search().forResource(Patient.class).where(new StringClientParam("name").matchesExactly().value("nguyen")).and(Patient.IDENTIFIER.exactly().systemAndIdentifier(SYSTEM, RUN + "s")).returnBundle(Bundle.class).execute().getEntry().size());
        // 5,050 g .. is 50.5 kg and more: 55.50 to 59.50 come twice each in 25, 50.50 to 54.50 three times.
        same(10, client.search().forResource(Observation.class).where(toSubject.hasId(subject)).and(Observation.VALUE_QUANTITY.greaterThanOrEquals().number("55500").andUnits("http://unitsofmeasure.org", "g")).usingStyle(ca.uhn.fhir.rest.api.SearchStyleEnum.POST).count(50).returnBundle(Bundle.class).execute().getEntry().size());
        same(5, client.search().forResource(Observation.class).where(toSubject.hasId(subject)).and(Observation.DATE.before().day("2026-03-06")).returnBundle(Bundle.class).execute().getEntry().size());
        Patient small = (Patient) client.search().forResource(Patient.class).where(Patient.IDENTIFIER.exactly().systemAndIdentifier(SYSTEM, RUN + "s")).elementsSubset("name", "birthDate").returnBundle(Bundle.class).execute().getEntryFirstRep().getResource();
        check(small.hasName() && !small.hasIdentifier() && small.getMeta().getTag().stream().anyMatch(t -> t.getCode().equals("SUBSETTED")));
        same(25, client.search().forResource(Patient.class).withIdAndCompartment(subject.substring(8), "Observation").count(100).returnBundle(Bundle.class).execute().getEntry().size());
        InvalidRequestException bad = refused(InvalidRequestException.class, () -> client.search().byUrl("Patient?birthdate=hôm-qua").returnBundle(Bundle.class).execute());
        check(((OperationOutcome) bad.getOperationOutcome()).getIssueFirstRep().getDiagnostics().contains("birthdate"));
    }

    void bundles() {
        Bundle bundle = new Bundle();
        bundle.setType(BundleType.TRANSACTION);
        String urn = "urn:uuid:" + UUID.randomUUID();
        bundle.addEntry().setFullUrl(urn).setResource(patient("t")).getRequest().setMethod(HTTPVerb.POST).setUrl("Patient").setIfNoneExist("identifier=" + SYSTEM + "|" + RUN + "t");
        bundle.addEntry().setFullUrl("urn:uuid:" + UUID.randomUUID()).setResource(observation(urn, "61.0", "2026-04-01")).getRequest().setMethod(HTTPVerb.POST).setUrl("Observation");
        bundle.addEntry().setResource((Patient) patient("t2").setId("t2-" + RUN)).getRequest().setMethod(HTTPVerb.PUT).setUrl("Patient/t2-" + RUN);
        bundle.addEntry().getRequest().setMethod(HTTPVerb.GET).setUrl("Patient?identifier=" + SYSTEM + "|" + RUN + "t");
        Bundle answer = client.transaction().withBundle(bundle).execute();
        same(BundleType.TRANSACTIONRESPONSE, answer.getType());
        same(4, answer.getEntry().size());
        Bundle.BundleEntryResponseComponent created = answer.getEntryFirstRep().getResponse();
        check(created.getStatus().startsWith("201"), created.getStatus());
        same("W/\"1\"", created.getEtag());
        IdType made = new IdType(created.getLocation());
        Observation o = client.read().resource(Observation.class).withId(new IdType(answer.getEntry().get(1).getResponse().getLocation()).getIdPart()).execute();
        same("Patient/" + made.getIdPart(), o.getSubject().getReference());
        same(1, ((Bundle) answer.getEntry().get(3).getResource()).getEntry().size());
        check(client.transaction().withBundle(bundle.copy()).execute().getEntryFirstRep().getResponse().getStatus().startsWith("200"));

        Bundle wrong = new Bundle();
        wrong.setType(BundleType.TRANSACTION);
        wrong.addEntry().setResource(patient("never")).getRequest().setMethod(HTTPVerb.POST).setUrl("Patient");
        wrong.addEntry().setResource(observation("Patient?identifier=" + SYSTEM + "|nobody", "1.0", "2026")).getRequest().setMethod(HTTPVerb.POST).setUrl("Observation");
        refused(InvalidRequestException.class, () -> client.transaction().withBundle(wrong).execute());
        same(0, found("never").size());

        Bundle batch = new Bundle();
        batch.setType(BundleType.BATCH);
        batch.addEntry().getRequest().setMethod(HTTPVerb.GET).setUrl("Patient/" + made.getIdPart());
        batch.addEntry().getRequest().setMethod(HTTPVerb.GET).setUrl("Patient/nobody-" + RUN);
        Bundle parts = client.transaction().withBundle(batch).execute();
        same(BundleType.BATCHRESPONSE, parts.getType());
        check(parts.getEntryFirstRep().getResource() instanceof Patient);
        check(parts.getEntry().get(1).getResponse().getStatus().startsWith("404"));
        check(parts.getEntry().get(1).getResponse().getOutcome() instanceof OperationOutcome);
    }

    void operations() {
        IdType id = (IdType) found("s").get(0).getResource().getIdElement().toUnqualifiedVersionless();
        Bundle everything = client.operation().onInstance(id).named("$everything").withNoParameters(Parameters.class).useHttpGet().returnResourceType(Bundle.class).execute();
        check(everything.getEntry().stream().filter(e -> e.getResource() instanceof Observation).count() == 25);
        Meta meta = client.meta().add().onResource(id).meta(new Meta().addTag("http://example.vn/tag", "vip", null)).execute();
        check(meta.getTag("http://example.vn/tag", "vip") != null);
        same(1, client.search().forResource(Patient.class).withTag("http://example.vn/tag", "vip").and(Patient.IDENTIFIER.exactly().systemAndIdentifier(SYSTEM, RUN + "s")).returnBundle(Bundle.class).execute().getEntry().size());
        check(client.meta().get(Meta.class).fromResource(id).execute().getTag("http://example.vn/tag", "vip") != null);
        Meta less = client.meta().delete().onResource(id).meta(new Meta().addTag("http://example.vn/tag", "vip", null)).execute();
        check(less.getTag("http://example.vn/tag", "vip") == null);
        MethodOutcome valid = client.validate().resource(patient("v")).execute();
        check(valid.getOperationOutcome() instanceof OperationOutcome);
        Binary scan = new Binary();
        scan.setContentType("application/pdf");
        scan.setContent("%PDF-1.7 giấy ra viện".getBytes(java.nio.charset.StandardCharsets.UTF_8));
        IdType at = (IdType) client.create().resource(scan).execute().getId();
        Binary again = client.read().resource(Binary.class).withId(at.getIdPart()).execute();
        same("application/pdf", again.getContentType());
        same(new String(scan.getContent(), java.nio.charset.StandardCharsets.UTF_8), new String(again.getContent(), java.nio.charset.StandardCharsets.UTF_8));
    }

    void options(String base) {
        GZipContentInterceptor gzip = new GZipContentInterceptor();
        client.registerInterceptor(gzip);
        Patient full = (Patient) client.create().resource(patient("z")).prefer(PreferReturnEnum.REPRESENTATION).execute().getResource();
        same("Nguyễn", full.getNameFirstRep().getFamily());
        client.unregisterInterceptor(gzip);
        MethodOutcome told = client.create().resource(patient("z")).prefer(PreferReturnEnum.OPERATION_OUTCOME).execute();
        check(told.getOperationOutcome() instanceof OperationOutcome);
        MethodOutcome little = client.create().resource(patient("z")).prefer(PreferReturnEnum.MINIMAL).execute();
        check(little.getResource() == null && little.getId().hasVersionIdPart());

        same(3, client.search().forResource(Patient.class).where(Patient.IDENTIFIER.exactly().code(RUN + "z")).prettyPrint().accept("application/fhir+xml")
            .lastUpdated(new DateRangeParam(full.getMeta().getLastUpdated(), null)).sort().ascending(Patient.NAME).sort().descending("_lastUpdated")
            .returnBundle(Bundle.class).execute().getEntry().size());
        same(0, client.search().forResource(Patient.class).where(Patient.IDENTIFIER.exactly().codes("no" + RUN, "none" + RUN)).withProfile("http://example.vn/profile")
            .withSecurity("http://example.vn/security", "R").revInclude(Observation.INCLUDE_SUBJECT).returnBundle(Bundle.class).execute().getEntry().size());
        Patient byUrl = client.read().resource(Patient.class).withUrl(base + "/Patient/" + full.getIdElement().getIdPart()).execute();
        same(full.getIdElement().getIdPart(), byUrl.getIdElement().getIdPart());
        check(client.read().resource(Patient.class).withId(byUrl.getIdElement().getIdPart()).summaryMode(SummaryEnum.TEXT).execute().hasText());
        Bundle before = client.history().onInstance(byUrl.getIdElement().toUnqualifiedVersionless()).returnBundle(Bundle.class)
            .at(new DateRangeParam("ge2020-01-01", "lt2020-02-01")).execute();
        same(0, before.getEntry().size());

        Bundle stale = new Bundle();
        stale.setType(BundleType.TRANSACTION);
        stale.addEntry().getRequest().setMethod(HTTPVerb.DELETE).setUrl("Patient/" + byUrl.getIdElement().getIdPart()).setIfMatch("W/\"9\"");
        refused(PreconditionFailedException.class, () -> client.transaction().withBundle(stale).execute());
        Parameters asked = new Parameters();
        asked.addParameter("max", new IntegerType(2));
        asked.addParameter("code", new StringType(LOINC + "|29463-7"));
        Bundle last = client.operation().onType(Observation.class).named("$lastn").withParameters(asked).andParameter("patient", new StringType("Patient/" + byUrl.getIdElement().getIdPart()))
            .useHttpGet().returnResourceType(Bundle.class).execute();
        same(0, last.getEntry().size());
    }

    void errors() {
        Observation none = new Observation();
        none.getCode().setText("không có trạng thái");
        BaseServerResponseException e = refused(BaseServerResponseException.class, () -> client.create().resource(none).execute());
        check(e.getStatusCode() == 400 || e.getStatusCode() == 422, e);
        OperationOutcome outcome = (OperationOutcome) e.getOperationOutcome();
        same(OperationOutcome.IssueSeverity.ERROR, outcome.getIssueFirstRep().getSeverity());
        check(outcome.getIssue().stream().anyMatch(i -> i.getExpression().stream().anyMatch(x -> x.getValue().startsWith("Observation"))), "no expression");
    }
}
