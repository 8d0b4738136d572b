// Posts what Zabbix has filled into the parameters of the media type to Campanile, as JSON.
var OWN = ['campanile_url', 'campanile_key', 'http_proxy'];

function event(params) {
    var body = {};

    Object.keys(params).forEach(function (name) {
        if (OWN.indexOf(name) === -1) {
            body[name] = params[name];
        }
    });
    try {
        body.event_tags = JSON.parse(params.event_tags);
    }
    catch (error) {
        // Discovery, autoregistration and internal events have the macro instead of a list.
        Zabbix.log(4, '[ Campanile ] no tags: ' + params.event_tags);
    }

    return body;
}

function post(params) {
    var request = new HttpRequest(),
        response;

    if (!/^https?:\/\//.test(params.campanile_url)) {
        throw 'the parameter campanile_url is not an address such as https://campanile.example.com/webhook/zabbix: '
            + params.campanile_url;
    }
    if (params.http_proxy) {
        request.setProxy(params.http_proxy);
    }
    request.addHeader('Content-Type: application/json');
    if (params.campanile_key) {
        request.addHeader('Authorization: Bearer ' + params.campanile_key);
    }
    response = request.post(params.campanile_url, JSON.stringify(event(params)));
    if (request.getStatus() < 200 || request.getStatus() >= 300) {
        throw 'answered ' + request.getStatus() + ': ' + response;
    }

    return response;
}

try {
    // Test of the media type shows what is returned.
    return post(JSON.parse(value));
}
catch (error) {
    Zabbix.log(3, '[ Campanile ] ' + error);
    throw 'Campanile: ' + error;
}
